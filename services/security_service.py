"""Security mails: what was done to or in an account, with a link that says "this was not me" (`not_me_service`).

docs/accounts.md says which mails bear it, and why the others do not.
"""

from models import User
from services import link_service, mail_service, throttle_service

BEARERS = frozenset(
    {
        "api_key_made",
        "deletion_requested",
        "deletion_undone",
        "email_changed",
        "email_changed_notice",
        "export_ready",
        "factor_added",
        "factor_removed",
        "factors_reset",
        "identity_linked",
        "identity_unlinked",
        "impersonated",
        "new_device",
        "oldest_session_ended",
        "password_changed",
        "recovery_code_used",
        "recovery_codes_renewed",
        "refresh_token_reused",
        "second_step_guessed",
    }
)


def tell(user: User, kind: str, /, *, to: str | None = None, **context: object) -> None:
    """Mail somebody what happened to his account, with a link of this mail's own that calls it back.

    `to` is another address than the account's: the one it had until now. `context` is what the template asks for.
    """
    if kind not in BEARERS:
        raise ValueError(f"{kind} is no security mail")
    address = user.email if to is None else to
    # Where accounts can be used before that, a stranger may have registered with anybody's address.
    if not user.email_verified and not throttle_service.allows(throttle_service.UNCONFIRMED_MAIL, address):
        return
    token = link_service.make_not_me(user, address)
    mail_service.send(
        kind,
        to=address,
        name=user.name,
        not_me_link=mail_service.link("/auth/not-me", token=token),
        not_me_lifetime=link_service.NOT_ME_LIFE,
        **context,
    )
