"""What the tests of mails share: what the fixtures give, and one round of delivery."""

from collections.abc import Callable

from flask import Flask

from models import OutboxMail
from services import outbox_service

Outbox = Callable[[], list[OutboxMail]]
Write = Callable[..., None]
SetAll = Callable[..., None]


def deliver(app: Flask) -> int:
    """Deal with what is due; returns how many mails that were."""
    with app.app_context():
        return outbox_service.deliver_due()
