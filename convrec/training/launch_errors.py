"""What became of a launch that failed, in one sentence."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from convrec import errors
from convrec.errors import ConvrecError, TrainingError
from convrec.training.job import TrainingJob
from convrec.training.worker import ERROR

_EXIT = re.compile(r"exitcode\s*:\s*(-?\d+)")
"""In torchrun's summary; the process that failed first is the last there."""

_ERROR_LINE = re.compile(r"^(?:\[rank\d+\]: ?)?(\w[\w.]*(?:Error|Exception|Interrupt)\b.*)$", re.M)
_OWN = ("ChildFailedError", "CalledProcessError", "SignalException")
"""Errors of the launcher itself, which say only that a process failed."""

_MEMORY = ("out of memory", "can't allocate memory", "MemoryError")


def failure(status: int, job_folder: Path, log: Path, given: TrainingJob) -> ConvrecError:
    """The error for an exit status, what the processes left in `job_folder`, and their log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    said = job_folder / ERROR
    if said.is_file():
        told = json.loads(said.read_text(encoding="utf-8"))
        if told["kind"]:
            known: type[ConvrecError] = getattr(errors, told["kind"], TrainingError)
            return known(told["message"])
        line = told["message"]
    else:
        line = _last_error(text)
    ended = [int(code) for code in _EXIT.findall(text)] or [status]
    number = max(-ended[-1], 0)
    if any(word in line for word in _MEMORY):
        return TrainingError(f"training ran out of memory ({line}); {_smaller(given)}")
    if number == signal.SIGKILL:
        return TrainingError(
            "a process of the training was killed with SIGKILL, as the system does where memory "
            f"runs out; {_smaller(given)}"
        )
    how = f"ended by {signal.Signals(number).name}" if number else f"exit status {ended[-1]}"
    return TrainingError(
        f"training under accelerate failed ({how}): {line.rstrip('.')}; its log is {log}"
    )


def port_was_taken(log: Path) -> bool:
    """Whether a launch ended because another process listens on its port."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return "EADDRINUSE" in text or "address already in use" in text.lower()


def _last_error(text: str) -> str:
    found = [line for line in _ERROR_LINE.findall(text) if not line.split(":")[0].endswith(_OWN)]
    return found[-1] if found else "it said nothing of why"


def _smaller(given: TrainingJob) -> str:
    settings = given.config.rank_grpo
    if given.stage == "sft":
        size = given.config.sft.batch_size
        return f"lower sft.batch_size={size}, or model.max_prompt_tokens"
    return (
        f"lower rank_grpo.prompts_per_step={settings.prompts_per_step}, "
        f"rank_grpo.group_size={settings.group_size} or model.max_completion_tokens"
    )
