"""The Dockerfile and the job templates of `deploy/`."""

from __future__ import annotations

import json
from typing import Any

from convrec.config import ROOT


def read_job_template(pool: str) -> dict[str, Any]:
    text = (ROOT / "deploy" / f"{pool}.json").read_text(encoding="utf-8")
    template: dict[str, Any] = json.loads(text)
    return template


def copied_into_image() -> list[str]:
    """The files and folders that the Dockerfile copies."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
