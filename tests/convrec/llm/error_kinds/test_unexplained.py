"""Errors that say nothing the run can use."""

from __future__ import annotations

from tests.support.error_bodies import (
    HTML,
    ErrorCase,
    assert_understood,
    both_forms,
    each_error,
    openai,
)

ERRORS: list[ErrorCase] = [
    ("odd", 400, openai("odd words"), "other"),
    ("too little for thinking", 400, openai("Could not finish: raise max_tokens"), "other"),
    ("a gateway's own trouble", 502, openai("invalid url for upstream"), "busy"),
    ("blocked by a firewall", 403, HTML.format("Attention Required!"), "other"),
    ("nothing", 400, "", "other"),
]


@each_error(ERRORS)
@both_forms
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    assert_understood(status, body, kind, as_text)
