"""What the tests of the second step's pages share: an app and passkeys, set up and used as the pages do it."""

import json
import re
from datetime import timedelta
from typing import Any

from tests.authenticator import Authenticator
from tests.clients import Answer, PageClient
from tests.integration.api.test_second_factor import code_of

SECURITY = "/account/security"
LATER = timedelta(minutes=10, seconds=5)


def cookie(client: PageClient) -> str:
    kept = client.get_cookie("session")
    assert kept is not None
    return kept.value


def set_up_app(client: PageClient) -> tuple[str, list[str]]:
    """Through the pages; the key, and the recovery codes."""
    client.submit(f"{SECURITY}/app/start", f"{SECURITY}/app")
    page = client.get(f"{SECURITY}/app").text
    shown = re.search(r'<code class="secret">([^<]*)</code>', page)
    assert shown
    secret = shown[1].replace(" ", "")
    done = client.submit(f"{SECURITY}/app", code=code_of(secret, steps=-1))
    assert done.status_code == 200
    return secret, codes_in(done)


def codes_in(page: Answer) -> list[str]:
    return re.findall(r"<li><code>([0-9a-z-]{19})</code></li>", page.text)


def options(client: PageClient, path: str) -> dict[str, Any]:
    answer = client.post(path, json={})
    assert answer.status_code == 200, answer.json
    return dict(answer.json["data"])


def add_passkey(client: PageClient, device: Authenticator, name: str = "Laptop", **bent: Any) -> Answer:
    """As the script of the page does it."""
    asked = options(client, f"{SECURITY}/passkeys/options")
    return client.submit(
        f"{SECURITY}/passkeys/new",
        name=name,
        challenge_token=asked["challenge_token"],
        credential=json.dumps(device.create(asked["options"], **bent)),
    )


def use_passkey(client: PageClient, device: Authenticator, path: str, ask_at: str, **bent: Any) -> Answer:
    asked = options(client, ask_at)
    return client.submit(
        path,
        challenge_token=asked["challenge_token"],
        credential=json.dumps(device.get(asked["options"], **bent)),
    )


def passkey_pages(client: PageClient) -> list[str]:
    return re.findall(rf'href="({SECURITY}/passkeys/[0-9a-f-]{{36}})"', client.get(SECURITY).text)
