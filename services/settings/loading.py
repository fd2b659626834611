"""How settings are loaded: from the environment, from files for secrets, from .env; every fault told at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo


class ConfigurationError(Exception):
    """The settings are wrong; `faults` holds one sentence a variable, none with its value."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("The configuration is not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))


class Settings(BaseModel):
    """What an environment's settings are made of; `config.py` adds the variables.

    Earlier sources win: what the code says, the environment, NAME_FILE (for secrets), then what `files` read.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)
    ENVIRONMENT: ClassVar[str] = ""
    #: Each topic begins with this variable.
    TOPICS: ClassVar[Mapping[str, str]] = {}
    REQUIRED: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read, check and freeze the settings; overrides win. Raises ConfigurationError that lists every fault."""
        settings, faults = cls.draft(**overrides)
        if faults:
            raise ConfigurationError([f"{name}: {reason}" for name, reason in faults.items()])
        return settings

    @classmethod
    def draft(cls, **overrides: Any) -> tuple[Self, dict[str, str]]:
        """The settings, with defaults where a value is wrong, and what is wrong by variable."""
        values = cls.given() | overrides
        wrong = secret_file_faults(cls)
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            wrong |= _reasons(error)
            right = {name: value for name, value in values.items() if name not in wrong}
            settings = cls.model_validate(right)
        return settings, wrong | {name: reason for name, reason in settings.faults() if name not in wrong}

    @classmethod
    def validate_required_config(cls) -> None:
        """Raise ConfigurationError when a variable this environment needs is missing or wrong."""
        cls.load()

    def faults(self) -> list[tuple[str, str]]:
        """Variable and reason of what is wrong though each value alone is right."""
        return [(name, "is required") for name in self.REQUIRED if not getattr(self, name)]

    @classmethod
    def files(cls) -> Mapping[str, Path]:
        """Files that are read after everything else, by the name they are told under."""
        return {}

    @classmethod
    def origin_of(cls, name: str) -> str:
        """Where the value of a variable comes from: its name for people, "default" when nobody said."""
        given = os.environ.get(name)
        files = {label: in_file(path).get(name) for label, path in cls.files().items()}
        if given:
            # Flask's own command line copies .env into the environment.
            return next((label for label, value in files.items() if value == given), "environment")
        if is_secret(cls.model_fields[name]) and os.environ.get(f"{name}_FILE"):
            return f"{name}_FILE"
        return next((label for label, value in files.items() if value), "default")

    @classmethod
    def given(cls) -> dict[str, Any]:
        """What the sources say, as text; an empty value is not said."""
        said: dict[str, str] = {}
        for path in reversed([*cls.files().values()]):
            said |= in_file(path)
        said |= _secret_files(cls) | {name: value for name, value in os.environ.items() if value}
        return {name: value for name, value in said.items() if name in cls.model_fields}


def is_secret(field: FieldInfo) -> bool:
    """Whether a variable's value is told to nobody."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def in_file(path: Path) -> dict[str, str]:
    """The variables of a .env file that have a value; none when there is no such file."""
    if not path.is_file():
        return {}
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}


def secret_file_faults(settings: type[Settings]) -> dict[str, str]:
    """What is wrong with each NAME_FILE: it can't be read, or NAME is there as well."""
    faults = {}
    for name, path in _named_files(settings).items():
        if os.environ.get(name):
            faults[name] = f"is given twice, as {name} and as {name}_FILE"
        elif _content(path) is None:
            faults[name] = f"the file that {name}_FILE names can't be read"
    return faults


def _secret_files(settings: type[Settings]) -> dict[str, str]:
    found = {name: _content(path) for name, path in _named_files(settings).items()}
    return {name: value for name, value in found.items() if value}


def _named_files(settings: type[Settings]) -> dict[str, str]:
    fields = settings.model_fields.items()
    named = {name: os.environ.get(f"{name}_FILE") for name, field in fields if is_secret(field)}
    return {name: path for name, path in named.items() if path}


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _reasons(error: ValidationError) -> dict[str, str]:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return {str(fault["loc"][0]): _in_our_words(fault["msg"]) for fault in faults}


def _in_our_words(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be")
