"""A stored LLM response, and the lookup of an empty warehouse."""

from __future__ import annotations

import json

from convrec.llm.response import Response
from convrec.llm.spool import KeyStatus
from tests.support.llm_endpoint import completion

RESPONSE = Response(
    key="k1",
    endpoint="test",
    model="demo-teacher",
    body="{}",
    response=json.dumps(completion("1. Heat (1995)")),
    origin="live",
    created_at="2025-01-01T00:00:00.000001",
    run="r",
    stage="recommend",
    prompt_tokens=100,
    completion_tokens=50,
    usd=0.5,
)


def nothing_stored(keys: list[str]) -> KeyStatus:
    return KeyStatus(set(), set())
