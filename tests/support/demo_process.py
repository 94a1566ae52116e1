"""The demo's endpoint as a process with a log, optionally with faults."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

FAULTS = "429:0.1,500:0.1,drop:0.05,timeout:0.02,truncate:0.05,garbage:0.03"
"""Faults on 35% of the requests."""


class DemoProcess:
    """`convrec llm serve-demo`; its log is FOLDER/server.jsonl."""

    def __init__(self, folder: Path, faults: str, seed: int, latency_ms: int = 60) -> None:
        self.log = folder / "server.jsonl"
        command = [sys.executable, "-m", "flows.cli", "llm", "serve-demo", "--port", "0"]
        command += ["--log", str(self.log), "--latency-ms", str(latency_ms)]
        command += ["--seed", str(seed), *(["--faults", faults] if faults else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def log_lines(self) -> list[dict[str, Any]]:
        """One line per request, with its key and outcome."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)


def count_outcomes(lines: list[dict[str, Any]]) -> dict[str, int]:
    """Number of requests sent, of faults, of keys answered, and of repeated answers."""
    answered = Counter(line["key"] for line in lines if line["outcome"] == "200")
    return {
        "sent": len(lines),
        "faults": sum(line["outcome"] != "200" for line in lines),
        "answered": len(answered),
        "answered_twice": sum(count - 1 for count in answered.values()),
    }
