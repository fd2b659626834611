"""Secrets that are made where nobody needs to keep them: on a developer's machine."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet

from services import private


def make_secrets(path: Path) -> None:
    """Make secrets for a developer's machine, once, in an ignored file that only its owner reads."""
    if path.exists():
        with suppress(OSError):
            path.chmod(private.FILE)
        return
    made = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }
    try:
        # Root's database runs as another account, which has its data in this folder: it may walk through.
        private.make_folder(path.parent, private.FOLDER if os.geteuid() else 0o711)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=private.FILE)
        draft.write_text("".join(f"{name}={value}\n" for name, value in made.items()), encoding="utf-8")
    except OSError:
        return  # a checkout that can't be written to: then the secrets must be given, and each missing one is told
    try:
        os.link(draft, path)  # two first starts at once: one file wins, both read it
    except OSError:
        if not path.exists():  # a file system without links
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
