"""Every mail, byte for byte as its reader gets it.

After a wanted change: `UPDATE_GOLDEN=1 pytest tests/unit/services/test_mail_templates.py`, and read the diff.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import html5lib
import pytest
from flask import Flask
from jinja2 import UndefinedError

from config import PROJECT_ROOT
from services import mail_service, security_service
from services.origin import set_origin

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = PROJECT_ROOT / "templates" / "emails"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
ALICE = {"to": "alice@example.com", "name": "Alice Lindqvist"}
ADA = {
    "to": "ada@example.com",
    "name": "Ada Admin",
    "account_link": "https://portico.example.com/admin/users/5",
}
TOKEN = "q7Hk2mXv9bR4sLw8pYc3nJd6fGz1tAa5eUo0iKjVxB-_"
DAY, MINUTES = timedelta(days=1), timedelta(minutes=10)
THIRD = datetime(2026, 12, 3, 9, 0, tzinfo=UTC)
NOT_ME = {
    "not_me_link": f"https://portico.example.com/auth/not-me?token={TOKEN}",
    "not_me_lifetime": timedelta(days=7),
}
MOVE = {"old_email": "alice@example.com", "new_email": "alice@new.example.org"}

#: case → context; a case is a mail's name, and after a dot what is special.
CASES: dict[str, dict[str, Any]] = {
    "verify_email": {**ALICE, "token": TOKEN, "code": "402918", "lifetime": DAY, "code_lifetime": MINUTES},
    "already_registered": ALICE,
    "reset_password": {**ALICE, "token": TOKEN, "lifetime": 3 * MINUTES},
    "password_changed": {**ALICE, **NOT_ME},
    "email_change_confirm": {**ALICE, "to": "alice@new.example.org", "token": TOKEN, "lifetime": DAY},
    "email_changed_notice": {**ALICE, **NOT_ME, "new_email": "alice@new.example.org"},
    "email_changed.to_the_former": {**ALICE, **NOT_ME, **MOVE},
    "email_changed.to_the_new": {**ALICE, **NOT_ME, **MOVE, "to": "alice@new.example.org"},
    "email_set.to_the_former": {**ALICE, **MOVE},
    "email_set.to_the_new": {**ALICE, **MOVE, "to": "alice@new.example.org"},
    "account_secured": {**ALICE, "token": TOKEN, "lifetime": 3 * MINUTES},
    "address_given_back": {**ALICE, "to": "mallory@example.org"},
    "account_frozen": {**ADA, "address": "alice@example.com", "until_now": None, "mailed_to": None},
    "account_frozen.given_back": {
        **ADA,
        "address": "alice@example.com",
        "until_now": "mallory@example.org",
        "mailed_to": None,
    },
    "account_frozen.held": {
        **ADA,
        "address": "mallory@example.org",
        "until_now": None,
        "mailed_to": "alice@example.com",
    },
    "suspended": {**ALICE, "reason": "Sold the guest list to <b>three</b> papers & a zoo.", "until": THIRD},
    "suspended.without_reason": {**ALICE, "reason": None, "until": None},
    "reinstated": ALICE,
    "impersonated": {
        **ALICE,
        **NOT_ME,
        "reason": "You wrote that <b>nothing</b> is saved & asked us to look.",
        "until": THIRD,
    },
    "invitation": {**ALICE, "token": TOKEN, "invited_by": "Ada Admin", "lifetime": 3 * DAY},
    "account_deleted": ALICE,
    "deletion_requested": {**ALICE, **NOT_ME, "token": TOKEN, "deletes_at": THIRD},
    "deletion_undone": {**ALICE, **NOT_ME},
    "export_ready": {**ALICE, **NOT_ME, "token": TOKEN, "expires_at": THIRD},
    "role_changed": {**ALICE, "old_role": "member", "new_role": "editor"},
    "password_guessed": {**ALICE, "failures": "100"},
    "slow_mode": {**ALICE, "most": "500"},
    "refresh_token_reused": {**ALICE, **NOT_ME, "device_name": "Alice's Pixel 8"},
    "new_device": {**ALICE, **NOT_ME},
    "oldest_session_ended": {**ALICE, **NOT_ME, "device_name": "Firefox on Linux", "most": "20"},
    "factor_added": {**ALICE, **NOT_ME, "factor": "a code of an authenticator app"},
    "factors_reset": {**ALICE, **NOT_ME},
    "factor_removed": {**ALICE, **NOT_ME, "factor": "a code of an authenticator app"},
    "identity_linked": {**ALICE, **NOT_ME, "issuer": "Auth0", "issuer_email": "alice@work.example.org"},
    "identity_linked.without_address": {
        **ALICE,
        **NOT_ME,
        "issuer": "your organisation",
        "issuer_email": None,
    },
    "identity_unlinked": {**ALICE, **NOT_ME, "issuer": "Auth0", "issuer_email": "alice@work.example.org"},
    "recovery_code_used": {**ALICE, **NOT_ME, "remaining": "7"},
    "recovery_code_used.few": {**ALICE, **NOT_ME, "remaining": "2"},
    "recovery_code_used.last": {**ALICE, **NOT_ME, "remaining": "0"},
    "recovery_codes_renewed": {**ALICE, **NOT_ME},
    "second_step_guessed": {**ALICE, **NOT_ME, "failures": "5"},
    "api_key_made": {**ALICE, **NOT_ME, "key_name": "Nightly backup"},
}
#: Their makers are, or may be, administrators, whose device and address are nobody's business; or the
#: worker, which has neither.
WITHOUT_ORIGIN = {
    "slow_mode",
    "factors_reset",
    "suspended",
    "reinstated",
    "impersonated",
    "invitation",
    "account_deleted",
    "role_changed",
    "email_changed",
    "email_set",
    "address_given_back",
    "account_frozen",
    "export_ready",
}


@pytest.fixture
def mail_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """Just enough of an application to render mails, at a fixed moment, called by Alice's browser."""
    app = Flask("portico", root_path=str(PROJECT_ROOT))
    app.config.update(
        APP_NAME="Portico",
        BASE_URL="https://portico.example.com",
    )
    monkeypatch.setattr(mail_service, "now", lambda: datetime(2026, 11, 20, 9, 41, 2, tzinfo=UTC))
    set_origin("203.0.113.7", FIREFOX, "request-1")
    with app.app_context():
        yield app
    set_origin(None, None, None)


@pytest.mark.parametrize("case", CASES)
def test_mail_reads_as_it_did(mail_app: Flask, case: str) -> None:
    mail = rendered(case)
    agrees(GOLDEN / f"{case}.txt", f"Subject: {mail.subject}\n\n{mail.text}")
    agrees(GOLDEN / f"{case}.html", mail.html)


def test_every_mail_has_both_forms_and_a_case() -> None:
    texts = {path.stem for path in TEMPLATES.glob("[!_]*.txt")}
    pages = {path.stem for path in TEMPLATES.glob("[!_]*.html")}
    assert texts == pages == {kind_of(case) for case in CASES}


def test_mails_that_bear_this_was_not_me_are_those_that_are_told_with_it() -> None:
    """In both forms; and nobody writes one of them without it."""
    for suffix in ("txt", "html"):
        bearing = {
            path.stem
            for path in TEMPLATES.glob(f"[!_]*.{suffix}")
            if "not_me_link" in path.read_text("utf-8")
        }
        assert bearing == security_service.BEARERS
    for path in (PROJECT_ROOT / "services").glob("*.py"):
        sent = re.findall(r'mail_service\.send(?:_each)?\(\s*"([a-z_]+)"', path.read_text("utf-8"))
        assert not set(sent) & security_service.BEARERS, path.name


@pytest.mark.parametrize("case", CASES)
def test_mail_is_valid_html_that_fetches_nothing(mail_app: Flask, case: str) -> None:
    html = rendered(case).html
    html5lib.HTMLParser(strict=True).parse(html)
    for forbidden in ("src=", "url(", "@import", "<link", "<script", "<img", "<form", "http://"):
        assert forbidden not in html


@pytest.mark.parametrize("case", CASES)
def test_both_forms_hold_the_same_links(mail_app: Flask, case: str) -> None:
    mail = rendered(case)
    links = {word for word in mail.text.split() if word.startswith("https://")}
    assert all(f'href="{link}"' in mail.html for link in links)
    assert all(link.startswith("https://portico.example.com/") for link in links)


@pytest.mark.parametrize("case", CASES)
def test_only_own_requests_show_device_and_address(mail_app: Flask, case: str) -> None:
    mail = rendered(case)
    shows = kind_of(case) not in WITHOUT_ORIGIN
    for form in (mail.text, mail.html):
        assert ("203.0.113.7" in form) is shows
        assert ("Firefox on Linux" in form) is shows
        assert "20 November 2026, 09:41 UTC" in form or kind_of(case) == "invitation"


def test_mail_from_a_command_tells_the_time_alone(mail_app: Flask) -> None:
    set_origin(None, None, None)
    text = rendered("reset_password").text
    assert "When        20 November 2026" in text
    assert "Device" not in text
    assert "IP address" not in text


def test_user_agent_is_never_quoted(mail_app: Flask) -> None:
    set_origin("203.0.113.7, call 555 0100", "You won! Open https://evil.example Firefox/1", None)
    mail = rendered("reset_password")
    assert "evil" not in mail.text + mail.html
    assert "555" not in mail.text + mail.html


def test_links_ignore_the_host_header(mail_app: Flask) -> None:
    with mail_app.test_request_context(headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}):
        mail = rendered("reset_password")
    assert "evil.example" not in mail.text + mail.html
    assert f"https://portico.example.com/auth/reset-password?token={TOKEN}" in mail.text


def test_link_encodes_its_query(mail_app: Flask) -> None:
    assert mail_service.link("/a", token="x&y=z #") == "https://portico.example.com/a?token=x%26y%3Dz+%23"


@pytest.mark.parametrize(
    "name",
    [
        "Alice",
        "Åsa Ñandú-O’Brien",
        "J. R. R. Tolkien",
        "D'Arcy",
        "Dr. Anna",
        "Владимир",
        "王小明",
        "زهرا",
        "प्रिया शर्मा",
    ],
)
def test_names_of_people_are_greeted(mail_app: Flask, name: str) -> None:
    assert mail_service.render("already_registered", to="a@example.com", name=name).text.startswith(
        f"Hello {name},"
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        None,
        "Win at evil.example",
        "https://evil.example",
        "evil.example/x",
        "Call 555 0100 now",
        "you@evil.example",
        "<a href=x>",
        "{{ 7*7 }}",
        "A" * 61,
    ],
)
def test_names_that_could_be_an_offer_are_not(mail_app: Flask, name: str | None) -> None:
    mail = mail_service.render("already_registered", to="a@example.com", name=name)
    assert mail.text.startswith("Hello,\n")
    assert ">Hello,<" in mail.html


def test_inviter_with_an_odd_name_is_an_administrator(mail_app: Flask) -> None:
    context = CASES["invitation"] | {"invited_by": "evil.example"}
    assert "An administrator made an account" in mail_service.render("invitation", **context).text


def test_html_of_others_is_text(mail_app: Flask) -> None:
    attack = "\"><script>alert(1)</script><a href='javascript:alert(1)'>{{ 7*7 }}</a>"
    html = mail_service.render("suspended", **ALICE, until=None, reason=attack).html
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7*7 }}" in html


def test_text_form_is_not_escaped(mail_app: Flask) -> None:
    text = mail_service.render("suspended", **ALICE, until=None, reason="Tom & Jerry's <fight>").text
    assert "Tom & Jerry's <fight>" in text


@pytest.mark.parametrize(
    "break_", ["\r\n", "\n", "\r", "\x00", "\x0b", "\x85", "\u2028", "\u2029", "\x1b", "\ud800"]
)
def test_values_stay_on_one_line(mail_app: Flask, break_: str) -> None:
    mail = mail_service.render(
        "suspended", **ALICE, until=None, reason=f"one{break_}Bcc: mallory@example.com"
    )
    assert "    one Bcc: mallory@example.com\n" in mail.text
    assert (break_ == "\n") or break_ not in mail.text


def test_direction_marks_are_dropped(mail_app: Flask) -> None:
    context = CASES["email_changed_notice"] | {"new_email": "\u202egro.elpmaxe@live"}
    assert "\u202e" not in mail_service.render("email_changed_notice", **context).text


def test_endless_values_are_cut(mail_app: Flask) -> None:
    mail = mail_service.render(
        "suspended", to="a@example.com", name="A" * 10**6, until=None, reason="x" * 10**6
    )
    assert len(mail.text) < 4_000
    assert len(mail.html) < 16_000
    assert "x…" in mail.text


def test_missing_value_is_an_error(mail_app: Flask) -> None:
    with pytest.raises(UndefinedError):
        mail_service.render("reset_password", to="a@example.com", name="Alice")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=30), "30 minutes"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=24), "24 hours"),
        (timedelta(hours=72), "3 days"),
        (timedelta(seconds=5), "1 minute"),
    ],
)
def test_durations_read_as_people_say_them(value: timedelta, words: str) -> None:
    assert mail_service.duration(value) == words


def kind_of(case: str) -> str:
    return case.partition(".")[0]


def rendered(case: str) -> mail_service.RenderedMail:
    return mail_service.render(kind_of(case), **CASES[case])


def agrees(golden: Path, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8", newline="")
    assert text.encode() == golden.read_bytes()
