"""A browser's sign-in that waits for its second step."""

from flask import session

from services.schemas.second_factor import SecondFactorRequiredOut

#: The challenge, in the browser's session.
WAITING = "second_step"


def wait_for_second_step(required: SecondFactorRequiredOut, *, email: str, next_url: str | None) -> None:
    """Keep in this browser what its second step will need."""
    session[WAITING] = {
        "token": required.challenge_token,
        "methods": required.methods,
        "email": email,
        "next": next_url,
    }
