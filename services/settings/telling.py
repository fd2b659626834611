"""Settings told to people: what is set and by whom, .env.example, and the page in docs/."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.settings.loading import Settings, is_secret

Environments = Mapping[str, type[Settings]]

EXAMPLE_HEAD = """\
# Every variable with its default and what it means. Made by: flask config example > .env.example
#
# Development needs none of them. Copy to .env what you want to change: it is read in development only. On servers set
# variables in the environment, and hand secrets over as files: SECRET_KEY_FILE=/run/secrets/secret_key
"""
PAGE_HEAD = """\
# Configuration

<!-- Made by: flask config docs > docs/configuration.md -->

Every setting is an environment variable. Development needs none. All are checked at start: every fault is listed by its
variable's name, never with its value, and the process refuses to start.

- `flask config check` tells every fault and exits with 1; `flask config explain` tells each value and where it comes
  from (secrets only as *set* or *not set*).
- Earlier sources win: the environment, `NAME_FILE` for secrets, `.env`, what was made for development, the default.
- `.env` is read in development only. The `flask` command of Flask itself puts it into the environment everywhere:
  keep none on a server, or set `FLASK_SKIP_DOTENV=1` there.
- Secrets can be files, as Docker and Kubernetes hand them over: `SECRET_KEY_FILE=/run/secrets/secret_key`. Giving both
  is refused.
- In development secrets are made once, in `instance/development.env`.
- An empty variable counts as not set. Yes and no are `true` and `false`.
"""


@dataclass(frozen=True, slots=True)
class Explained:
    """One variable as it is now. `value` is "set" or "not set" for secrets; `fault` is empty when all is well."""

    name: str
    topic: str
    value: str
    origin: str
    fault: str


def explain(settings: type[Settings]) -> list[Explained]:
    """Every variable of an environment with its value and where that comes from, wrong ones too."""
    values, faults = settings.draft()
    return [
        Explained(name, topic, _told(settings, name, values), settings.origin_of(name), faults.get(name, ""))
        for topic, name in _by_topic(settings)
    ]


def example(environments: Environments) -> str:
    """The content of .env.example."""
    lines = [EXAMPLE_HEAD]
    settings = environments["development"]
    last_topic = ""
    for topic, name in _by_topic(settings):
        if topic != last_topic:
            lines += [f"# ---- {topic}", ""]
            last_topic = topic
        lines += [f"# {line}" for line in _meaning(settings, name).splitlines()]
        lines += [f"# {note}" for note in _notes(environments, name)]
        lines += [f"#{name}={_text(_default(settings, name))}", ""]
    return "\n".join(lines)


def page(environments: Environments) -> str:
    """The content of docs/configuration.md."""
    lines = [PAGE_HEAD.rstrip()]
    settings = environments["development"]
    last_topic = ""
    for topic, name in _by_topic(settings):
        if topic != last_topic:
            lines += ["", f"## {topic}", "", "| variable | default | |", "|---|---|---|"]
            last_topic = topic
        default = _text(_default(settings, name))
        meaning = " ".join(_meaning(settings, name).split())
        told = " ".join([meaning, *_notes(environments, name)]).replace("|", "\\|")
        lines.append(f"| `{name}` | {f'`{default}`' if default else ''} | {told} |")
    return "\n".join(lines) + "\n"


def _by_topic(settings: type[Settings]) -> list[tuple[str, str]]:
    """Topic and name, in the order of TOPICS: groups of variables in classes of their own come first otherwise."""
    topic, found = "", []
    for name in settings.model_fields:
        topic = settings.TOPICS.get(name, topic)
        found.append((topic, name))
    order = list(settings.TOPICS.values())
    return sorted(found, key=lambda pair: order.index(pair[0]))


def _told(settings: type[Settings], name: str, values: Settings) -> str:
    value = getattr(values, name)
    if is_secret(settings.model_fields[name]):
        return "set" if value else "not set"
    return _text(value)


def _notes(environments: Environments, name: str) -> list[str]:
    """Where it is required, what other environments take, and whether it is a secret."""
    required = [label for label, settings in environments.items() if name in settings.REQUIRED]
    usual = _default(environments["development"], name)
    others: dict[str, list[str]] = {}
    for label, settings in environments.items():
        if (default := _default(settings, name)) != usual and not is_secret(settings.model_fields[name]):
            others.setdefault(_text(default) or "none", []).append(label)
    notes = [f"{_listed(labels).capitalize()}: {default}." for default, labels in others.items()]
    if len(required) == len(environments):
        notes.append("Made in development, required in staging and production.")
    elif required:
        notes.append(f"Required in {_listed(required)}.")
    if is_secret(environments["development"].model_fields[name]):
        notes.append(f"Also from the file that {name}_FILE names.")
    return notes


def _meaning(settings: type[Settings], name: str) -> str:
    """The description, from the class that declares the variable; the environments only change defaults."""
    declaring = [
        base for base in settings.__mro__ if issubclass(base, Settings) and name in base.model_fields
    ]
    return declaring[-1].model_fields[name].description or ""


def _default(settings: type[Settings], name: str) -> Any:
    return settings.model_fields[name].default


def _listed(words: list[str]) -> str:
    return " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} and {words[-1]}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
