"""The schema, brought to where this code expects it."""

from pathlib import Path

from flask import current_app
from flask_migrate import upgrade

from services import health_service
from services.base_service import reading


def bring_up_to_date() -> bool:
    """Run the migrations that are missing; whether there were any. Of several at once, one does and the others wait."""
    with reading():
        if health_service.migrations()["status"] == "pass":
            return False
    upgrade(directory=str(Path(current_app.root_path) / "migrations"))
    return True
