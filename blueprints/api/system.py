"""What runs here."""

from typing import Any

from flask import Blueprint

from blueprints.http.access import anyone
from blueprints.http.endpoint import endpoint
from services import health_service
from services.schemas.system import HealthOut, StatusOut

bp = Blueprint("api_system", __name__, url_prefix="/api/v1")


@bp.get("/health")
@endpoint(allow=anyone, out=HealthOut)
def read_health() -> Any:
    """Tell that the process is alive. Asks nothing of the database."""
    return health_service.alive()


@bp.get("/status")
@endpoint(allow=anyone, out=StatusOut)
def read_status() -> Any:
    """Tell name, version, environment, commit and uptime."""
    return health_service.status()
