"""What the tests of registering and of the first proof share: browsers that register, their mails, and who gets in."""

import re

from flask import Flask

from services import outbox_service
from tests.clients import Answer, Api, PageClient

ADDRESS = "xenia@example.com"
OWNERS = {"name": "Xenia Owner", "password": "lantern orchid gravel nine"}
STRANGERS = {"name": "Mallory Stranger", "password": "granite teapot window seven"}
NEW = {"name": "Xenia Chosen", "password": "copper violin seventeen"}


class Mails:
    """The mails to the address, one after the other."""

    def __init__(self, app: Flask, address: str = ADDRESS) -> None:
        self.app, self.address = app, address
        self.seen: set[object] = set()

    def next(self) -> tuple[str, str]:
        """Token and code of the one mail that confirms the address and came since the last call."""
        with self.app.app_context():
            mails = [mail for mail in outbox_service.mailbox() if mail.to == self.address]
        [text] = [
            mail.text for mail in mails if mail.id not in self.seen and "verify-email?token=" in mail.text
        ]
        self.seen |= {mail.id for mail in mails}
        code = re.search(r"^\d{6}$", text, re.MULTILINE)
        assert code
        return text.split("token=")[1].split()[0], code[0]


def register(client: PageClient, who: dict[str, str], address: str = ADDRESS) -> None:
    """Through the form."""
    answer = client.submit("/auth/register", **who, email=address)
    assert (answer.status_code, answer.location) == (303, "/auth/check-mail")


def press(client: PageClient, token: str, **fields: str) -> Answer:
    """Open the link and send its form."""
    client.get("/auth/verify-email", query_string={"token": token})
    return client.submit("/auth/verify-email", token=token, **fields)


def opens(app: Flask, password: str, address: str = ADDRESS) -> bool:
    """Whether a program gets in with this password."""
    answer = Api(app).post("/auth/login", {"email": address, "password": password})
    return answer.status_code == 200


def verify(app: Flask, body: dict[str, str]) -> int:
    """A program confirms."""
    return Api(app).post("/auth/verify-email", body).status_code
