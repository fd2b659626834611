"""Sample data to look around in: people at demo.example.com who do not exist, what they did, and one sign-in."""

import random
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from models import AuditEvent, User, UserSession, db
from models.base import now
from models.enums import SessionKind
from services import audit_service, link_service, password_service, session_service
from services.base_service import flush
from services.permissions import BUILT_IN_ROLES
from services.role_service import ADMIN

DOMAIN = "demo.example.com"
SIGN_IN = f"demo@{DOMAIN}"
NAMES = (
    "Aaliyah Hassan", "Agnieszka Wójcik", "Akira Tanaka", "Amara Nwosu", "Anaïs Lefèvre", "Arjun Menon",
    "Björn Lindqvist", "Camila Rojas", "Chen Wei", "Chiara Bianchi", "Daniel O’Connor", "Dimitra Papadaki",
    "Eilidh MacLeod", "Emre Yılmaz", "Fatima Zahra Benali", "Freya Sørensen", "Gabriel Araújo", "Hana Nováková",
    "Ingrid Halvorsen", "Ioana Popescu", "Jarmo Mäkinen", "Joaquín Herrera", "Kwame Boateng", "Leilani Kahale",
    "Li Na", "Lucía Fernández", "Malik Johnson", "Mei-Ling Chou", "Nikolai Petrov", "Noor van Dijk",
    "Oluwaseun Adeyemi", "Priya Raghunathan", "Rahel Tesfaye", "Sadia Chowdhury", "Sina Moradi", "Siobhán Byrne",
    "Tomáš Dvořák", "Wiremu Parata", "Zeynep Kaya",
)  # fmt: skip
DEVICES = (
    ("Firefox on Linux", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (
        "Chrome on Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
    ),
    (
        "Safari on iPhone",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
    ),
)
#: Addresses that belong to nobody (RFC 5737).
NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
SUSPENDED = "Nikolai Petrov"
UNCONFIRMED = frozenset({"Li Na", "Tomáš Dvořák", "Sina Moradi"})


@dataclass(frozen=True, slots=True)
class Demo:
    """How to sign in, and how many accounts were made: none when they were there."""

    email: str
    password: str
    made: int


def fill() -> Demo:
    """Make the sample data unless they are there, and give the demo account a new password.

    Where sample data may be is for the caller to decide.
    """
    password = "-".join(secrets.token_hex(3) for _ in range(3))
    user = db.session.scalar(select(User).where(User.email == SIGN_IN).with_for_update())
    made = 0
    if user is None:
        user = User(email=SIGN_IN, name="Demo", role=ADMIN, email_verified=True)
        db.session.add(user)
        flush()  # the id
        audit_service.record("account:create", actor_id=None, target_id=user.id, sample=True)
        made = 1 + _people()
    else:
        session_service.end_all(user.id)
        link_service.forget_all(user.id)
        audit_service.record("account:password:reset", actor_id=None, target_id=user.id, sample=True)
    user.password_hash = password_service.hash_password(password)
    flush()
    return Demo(SIGN_IN, password, made)


def _people() -> int:
    # The same people with the same past on each machine, so that pictures of pages can be compared.
    dice = random.Random(2024)  # noqa: S311  # nothing here is secret
    roles = sorted(BUILT_IN_ROLES)
    people = [_person(name, roles[-1] if dice.random() < 0.7 else dice.choice(roles), dice) for name in NAMES]
    db.session.add_all(people)
    flush()  # the ids
    for person in people:
        _past(person, dice)
    return len(people)


def _person(name: str, role: str, dice: random.Random) -> User:
    joined = now() - timedelta(days=dice.randrange(5, 400), minutes=dice.randrange(1440))
    person = User(
        email=f"{_local_part(name)}@{DOMAIN}",
        name=name,
        role=role,
        email_verified=name not in UNCONFIRMED,
        created_at=joined,
        updated_at=joined,
    )
    if name == SUSPENDED:
        person.is_active, person.suspended_at = False, now() - timedelta(days=2)
        person.suspension_reason = "Advertised in reviews."
    elif name not in UNCONFIRMED:
        person.last_login_at = now() - timedelta(minutes=dice.randrange(5, 60 * 24 * 20))
    return person


def _local_part(name: str) -> str:
    """What stands before the @: aaliyah.hassan."""
    decomposed = unicodedata.normalize("NFKD", name.lower().translate(_LETTERS))
    plain = "".join(char for char in decomposed if char in _KEPT)
    return plain.replace(" ", ".")


def _past(person: User, dice: random.Random) -> None:
    """What the audit log and the list of devices tell of somebody."""
    device, agent = dice.choice(DEVICES)
    address = f"{dice.choice(NETWORKS)}.{dice.randrange(1, 255)}"
    moments = {"account:register": person.created_at}
    if person.email_verified:
        moments["account:email:verify"] = person.created_at + timedelta(minutes=dice.randrange(1, 90))
    if person.last_login_at:
        moments["account:login:failure"] = person.last_login_at - timedelta(seconds=40)
        moments["account:login:success"] = person.last_login_at
        db.session.add(_session(person, device, agent, address))
    if person.suspended_at:
        moments["account:suspend"] = person.suspended_at
    for action, moment in moments.items():
        acted = None if action in {"account:login:failure", "account:suspend"} else person.id
        db.session.add(
            AuditEvent(
                action=action,
                actor_id=acted,
                target_id=person.id,
                ip=address,
                user_agent=agent,
                details={"sample": True},
                created_at=moment,
            )
        )


def _session(person: User, device: str, agent: str, address: str) -> UserSession:
    began = person.last_login_at or now()
    return UserSession(
        user_id=person.id,
        kind=SessionKind.API,
        device_name=device,
        user_agent=agent,
        ip=address,
        created_at=began,
        last_seen_at=began,
        authenticated_at=began,
        expires_at=began + session_service.API_ABSOLUTE,
    )


# Letters that do not decompose.
_LETTERS = str.maketrans("øłı", "oli")
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyz -")
