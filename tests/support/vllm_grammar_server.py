"""A stand-in for a vLLM server with structured outputs: a greedy model that likes repeats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.json_server import serve_json


class GrammarServer:
    """Writes the favourite line again and again as far as the grammar lets it.

    Its taste is the order of `favourites`: each line is the first one that the grammar allows.
    """

    def __init__(self, favourites: list[str]) -> None:
        self.favourites = favourites
        self.requests: list[dict[str, Any]] = []
        self.url = ""
        self.ignores_grammar = False

    def answer(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """The models, or the answer to a request."""
        if body is None:
            return {"object": "list", "data": [{"id": "exported", "object": "model"}]}
        return self.complete(body)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request."""
        self.requests.append(body)
        grammar = body["structured_outputs"]["grammar"]
        root, line = re.fullmatch(r"root ::= (.*)\nline ::= (.*)\n", grammar).groups()
        allowed = _written(iter(re.findall(r'"(?:[^"\\]|\\.)*"|[()|]', line)))
        best = next(name for name in self.favourites if name in allowed)
        text = "\n".join([best] * (root.count("line")))
        if self.ignores_grammar:
            text = "no such film"
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6},
        }


def _written(tokens: Iterator[str]) -> list[str]:
    """All texts of alternatives, up to a closing bracket or the end."""
    found: list[str] = []
    start, is_group = "", False
    for token in tokens:
        if token == ")":
            break
        if token == "|":
            found += [] if is_group else [start]
            is_group = False
        elif token == "(":
            found += [start + rest for rest in _written(tokens)]
            is_group = True
        else:
            start = json.loads(token)
    return found if is_group else [*found, start]


@contextmanager
def serve_grammar(server: GrammarServer) -> Iterator[GrammarServer]:
    """Serve on a free port of loopback."""
    with serve_json(server.answer) as url:
        server.url = f"{url}/v1"
        yield server
