"""Every table: the modules of this folder are found and imported, so that migrations and the shell see them all."""

import importlib
import pkgutil

from models.audit import AuditEvent
from models.base import db
from models.credential import OneTimeToken
from models.idempotency import IdempotencyKey
from models.outbox import OutboxMail
from models.rate_limit import RateLimit
from models.role import Role
from models.session import RefreshToken, UserSession
from models.user import User

__all__ = [
    "AuditEvent",
    "IdempotencyKey",
    "OneTimeToken",
    "OutboxMail",
    "RateLimit",
    "RefreshToken",
    "Role",
    "User",
    "UserSession",
    "db",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
