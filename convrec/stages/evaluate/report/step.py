"""The `report` artifact: one self-contained HTML file.

jinja2's autoescape escapes all text from outside (posts, titles, quarantined rows), and a content
security policy forbids scripts, so no post can run code.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import ConvrecError
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.report.context import displayed_config, report_context
from convrec.stages.evaluate.report.previous_run import previous_metrics
from convrec.utils.html import load_template

FILE = "report.html"


def render_page(context: dict[str, Any], name: str = FILE) -> str:
    """Render `report.html` (see `report_context`) or `compare.html` (see `comparison_page`)."""
    return load_template(Path(__file__).with_name(f"{name}.j2")).render(context)


def _build(ctx: StepContext) -> StepResult:
    if ctx.scratch is None:
        raise ConvrecError("the report is a file, but its step got no scratch folder")
    page = render_page(report_context(ctx)).encode()
    (ctx.scratch / FILE).write_bytes(page)
    row = {"path": [FILE], "sha256": [hashlib.sha256(page).hexdigest()]}
    return StepResult(pl.DataFrame(row), {"kilobytes": round(len(page) / 1024)})


def _inputs(ctx: StepContext) -> dict[str, str]:
    """The metrics of the previous run, which the report compares with."""
    previous = previous_metrics(ctx)
    return {"previous": previous} if previous else {}


def _config(config: Config) -> dict[str, Any]:
    return {"shown": displayed_config(config)}


REPORT = Step(
    stage="evaluate",
    kind="report",
    version=6,
    build=_build,
    config=_config,
    inputs=_inputs,
    folder=True,
)
