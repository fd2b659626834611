"""Who may do what, told from the code itself: every address, the rule of its view, and what that means for a role."""

import inspect
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from flask import current_app
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from blueprints.http.access import Rule
from blueprints.http.openapi import PLACEHOLDER
from services import factor_service
from services.errors import DomainError
from services.principal import Principal

#: Answered by the framework for every address.
UNTOLD_METHODS = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Address:
    """A method of an address, what it is for, and who may use it."""

    method: str
    path: str
    summary: str
    rule: Rule

    @property
    def is_api(self) -> bool:
        """Whether programs use it, with a token."""
        return self.path.startswith("/api/v1/")

    def is_open_to(self, permissions: Collection[str]) -> bool:
        """Whether the rule lets holders of these permissions in; what a service refuses is another matter."""
        return self.rule.permission is None or self.rule.permission in permissions


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether somebody may use an address, with every step that decides."""

    is_allowed: bool
    rule: str
    permission: str | None
    #: (what was looked at, whether it lets through, in words)
    steps: tuple[tuple[str, bool, str], ...]


def addresses() -> list[Address]:
    """Every address of the application but its static files, in the order of their paths."""
    return sorted(_addresses(), key=lambda address: (address.path, address.method))


def explain(method: str, path: str, *, by: Principal, is_active: bool) -> Verdict:
    """Whether `by`, as if signed in a moment ago, may call this address, and why."""
    rule = _rule_of(method, path)
    if rule is None:
        return Verdict(False, "none", None, (("address", False, "There is no such address and method."),))
    if not rule.signed_in:
        return Verdict(True, rule.name, None, (("rule", True, "Anyone may, signed in or not."),))
    steps = tuple(_steps(rule, by, is_active=is_active))
    is_allowed = all(passed for _, passed, _ in steps) and _lets_through(rule, by)
    return Verdict(is_allowed, rule.name, rule.permission, steps)


def _addresses() -> Iterator[Address]:
    for route in current_app.url_map.iter_rules():
        view: Any = current_app.view_functions[route.endpoint]
        rule = getattr(view, "access", None)
        if rule is not None:
            summary = (inspect.getdoc(view) or "").partition("\n")[0]
            for method in sorted((route.methods or set()) - UNTOLD_METHODS):
                yield Address(method, PLACEHOLDER.sub(r"{\1}", route.rule), summary, rule)


def _rule_of(method: str, path: str) -> Rule | None:
    try:
        endpoint, _ = current_app.url_map.bind("localhost").match(path, method.upper())
    except (HTTPException, RequestRedirect):
        return None
    rule: Rule | None = getattr(current_app.view_functions[endpoint], "access", None)
    return rule


def _steps(rule: Rule, by: Principal, *, is_active: bool) -> Iterator[tuple[str, bool, str]]:
    yield "account", is_active, "Active." if is_active else "Suspended: no way in at all."
    if by.frozen_at is not None:
        yield "frozen", False, "No way in until the password is reset by the mailed link."
    yield "role", True, f"{by.role}: {', '.join(sorted(by.permissions)) or 'no permissions'}."
    if rule.permission:
        has_it = by.can(rule.permission)
        yield "permission", has_it, f"{rule.permission} is {'' if has_it else 'not '}among them."
    missing = factor_service.must_enrol(by) and not rule.before_enrolment
    if missing:
        yield "second step", False, "REQUIRE_MFA asks for one, and none is set up."
    elif by.has_second_factor:
        yield "second step", True, "Set up."
    if rule.is_fresh:
        yield "fresh", True, "Only within ten minutes of signing in or confirming; asked for otherwise."
        yield "API key", True, "A key never will do: it confirms nothing."


def _lets_through(rule: Rule, by: Principal) -> bool:
    try:
        rule.check(by)
    except DomainError:
        return False
    return True
