"""A request target with another site's name in it, through gunicorn: no mail ever bears that name (A59)."""

import pytest

from app import create_app
from services import outbox_service
from tests.conftest import dispose
from tests.integration.faults.servers import PRODUCTION, Postgres, Site

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.parametrize(
    "target", ["http://evil.test", "https://evil.test:443", "http://portico.test@evil.test"]
)
def test_an_absolute_target_leads_no_mail_astray(site: Site, postgres: Postgres, target: str) -> None:
    person = postgres.people[0]
    answer = site.ask("POST", f"{target}/api/v1/auth/password/forgot", {"email": person.email})
    assert answer.status in {202, 400, 404}
    app = create_app("production", **PRODUCTION, DATABASE_URL=postgres.url)
    try:
        with app.app_context():
            mails = outbox_service.mailbox()
        assert len(mails) == (answer.status == 202)
        assert all("evil.test" not in mail.text + (mail.html or "") for mail in mails)
        assert all(f"{PRODUCTION['BASE_URL']}/auth/reset-password" in mail.text for mail in mails)
    finally:
        dispose(app)
