"""The error message for a launch that failed."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from convrec import errors
from convrec.errors import ConvrecError, TrainingError
from convrec.training.job import TrainingJob
from convrec.training.worker import ERROR

_EXIT_CODE = re.compile(r"exitcode\s*:\s*(-?\d+)")
"""In torchrun's summary, which lists the process that failed first last."""

_ERROR_LINE = re.compile(r"^(?:\[rank\d+\]: ?)?(\w[\w.]*(?:Error|Exception|Interrupt)\b.*)$", re.M)

_LAUNCHER_ERRORS = ("ChildFailedError", "CalledProcessError", "SignalException")
"""Errors of the launcher itself, which say only that a process failed."""

_MEMORY_ERRORS = ("out of memory", "can't allocate memory", "MemoryError")


def launch_error(status: int, launch_folder: Path, log: Path, job: TrainingJob) -> ConvrecError:
    """The error for an exit status, the processes' error file in `launch_folder`, and their log."""
    text = log.read_text(encoding="utf-8", errors="replace")
    error_file = launch_folder / ERROR
    if error_file.is_file():
        reported = json.loads(error_file.read_text(encoding="utf-8"))
        if reported["kind"]:
            kind: type[ConvrecError] = getattr(errors, reported["kind"], TrainingError)
            return kind(reported["message"])
        line = reported["message"]
    else:
        line = last_error(text)
    work = "sampling" if job.stage == "evaluate" else "training"
    exit_code = int([status, *_EXIT_CODE.findall(text)][-1])
    if any(phrase in line for phrase in _MEMORY_ERRORS):
        return TrainingError(f"{work} ran out of memory ({line}); {_smaller_step(job)}")
    if exit_code == -signal.SIGKILL:
        return TrainingError(
            f"a {work} process was killed with SIGKILL, as the system does when memory runs out; "
            f"{_smaller_step(job)}"
        )
    ending = f"exit status {exit_code}"
    if exit_code < 0:
        ending = f"ended by {signal.Signals(-exit_code).name}"
    return TrainingError(
        f"{work} under accelerate failed ({ending}): {line.rstrip('.')}; see {log}"
    )


def port_was_taken(log: Path) -> bool:
    """Whether a launch failed because another process listens on its port."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return "EADDRINUSE" in text or "address already in use" in text.lower()


def last_error(text: str) -> str:
    """The last error in the log of some processes, without those of the launcher itself."""
    lines = _ERROR_LINE.findall(text)
    reasons = [line for line in lines if not line.split(":")[0].endswith(_LAUNCHER_ERRORS)]
    return reasons[-1] if reasons else "no error message"


def _smaller_step(job: TrainingJob) -> str:
    settings = job.config.rank_grpo
    if job.stage == "sft":
        return "set a lower sft.micro_batch, or train.gradient_checkpointing=on"
    if job.stage == "evaluate":
        return f"lower evaluate.batch_size={job.config.evaluate.batch_size}"
    return (
        "set a lower rank_grpo.micro_batch, or train.gradient_checkpointing=on; if it is sampling "
        f"that does not fit, lower rank_grpo.prompts_per_step={settings.prompts_per_step} or "
        "model.max_completion_tokens"
    )
