"""Commands in this process, on the test's own transaction."""

from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask

Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask) -> Run:
    """`run("users", "list")`: the result with `exit_code`, `stdout` and `stderr`; `input` is what is typed."""
    runner = app.test_cli_runner()

    def invoke(*words: object, input: str | None = None) -> Result:
        return runner.invoke(args=[str(word) for word in words], input=input)

    return invoke
