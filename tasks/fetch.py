"""Fetching the LLM responses of a node, with the key of a Prefect Secret block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect.blocks.system import Secret

from convrec.errors import ConfigError
from convrec.stages.responses import fetch_responses
from convrec.utils.progress import Progress
from tasks.task_input import TaskInput

LLM_FIGURES = ("requests", "from_ledger", "sent", "prompt_tokens", "completion_tokens", "usd")


def fetch_missing(
    task_input: TaskInput, progress: Progress, *, run_id: str, spent_usd: float
) -> dict[str, Any]:
    """Fetch what the step misses.

    Returns the figures of the calls, `failed`, how many requests got no response, and `reasons`,
    why, by context.
    """
    resolved = task_input.resolved
    if resolved.cached:
        count = resolved.cached.requests
        nothing = {**dict.fromkeys(LLM_FIGURES, 0), "usd": 0.0, "failed": 0, "reasons": {}}
        return {**nothing, "requests": count, "from_ledger": count}
    result = fetch_responses(
        task_input.node.step,
        replace(resolved.ctx, progress=progress),
        run=run_id,
        spent_usd=spent_usd,
        progress=progress,
        key=api_key(resolved.ctx.config.llm.secret),
    )
    figures = {name: getattr(result, name) for name in LLM_FIGURES}
    return {**figures, "failed": len(result.failures), "reasons": dict(result.reasons)}


def api_key(block: str) -> str:
    """The API key in a Prefect Secret block; empty without a block name. Raises ConfigError."""
    if not block:
        return ""
    try:
        return str(Secret.load(block).get())
    except ValueError:
        raise ConfigError(
            f"llm.secret={block!r}: there is no Prefect Secret block of this name; make it in the "
            "UI under Blocks, or leave llm.secret empty and set OPENAI_API_KEY"
        ) from None
