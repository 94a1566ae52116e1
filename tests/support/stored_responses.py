"""A stored LLM response, the lookup of an empty warehouse, and the spool of a dead process."""

from __future__ import annotations

import fcntl
import json

from convrec.artifacts import Store
from convrec.llm.response import Response
from convrec.llm.spool import KeyStatus, Spool
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


def dead_spool(store: Store, *responses: Response) -> Spool:
    """The spool of a process that was killed after it wrote these responses."""
    spool = Spool(store.home / "spool").__enter__()
    spool.claim([response.key for response in responses], nothing_stored)
    spool.append(responses)
    (spool.folder / f"{spool.name}.fresh").touch()
    assert spool._claims_file is not None
    fcntl.flock(spool._claims_file, fcntl.LOCK_UN)
    return spool
