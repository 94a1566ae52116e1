"""A Batch API output file without any response, for runs that must fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.config import load
from convrec.pipeline.reparse import response_nodes


def replay_expired_batch(file: Path, overrides: Mapping[str, Any]) -> dict[str, str]:
    """Write the output file of an expired batch; return the overrides that replay it.

    The file has one line, for the first conversation of the demo under `overrides`.
    """
    _, _, ctx = next(response_nodes(load("demo", overrides), Store(file.with_suffix(".home"))))
    owner = ctx.frame("conversations")["context_id"][0]
    line = {"custom_id": owner, "response": None, "error": {"code": "batch_expired"}}
    file.write_text(json.dumps(line))
    return {"recommend.source": "replay", "recommend.replay": str(file)}
