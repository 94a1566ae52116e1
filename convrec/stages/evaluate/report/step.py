"""The `report` artifact: one HTML file that a person opens from disk, with nothing loaded from
anywhere.

Every text from outside (posts, titles, quarantined rows) is escaped by jinja2's autoescape, and a
content security policy forbids scripts, so that a post can only ever be read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.errors import ConvrecError
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.report.context import gather, shown_config
from convrec.stages.evaluate.report.previous_run import previous_metrics
from convrec.utils.html import template

if TYPE_CHECKING:
    from convrec.config import Config

FILE = "report.html"


def render(contents: dict[str, Any], name: str = FILE) -> str:
    """A page of `contents`: the report (see `gather`), or `compare.html` (see `compare`)."""
    return template(Path(__file__).with_name(f"{name}.j2")).render(contents)


def _build(ctx: StepContext) -> StepResult:
    import polars as pl

    if ctx.scratch is None:
        raise ConvrecError("the report is a file; its step needs a scratch folder")
    page = render(gather(ctx)).encode()
    (ctx.scratch / FILE).write_bytes(page)
    row = {"path": [FILE], "sha256": [hashlib.sha256(page).hexdigest()]}
    return StepResult(pl.DataFrame(row), {"kilobytes": round(len(page) / 1024)})


def _inputs(ctx: StepContext) -> dict[str, str]:
    """The earlier figures that stand beside the run's own."""
    previous = previous_metrics(ctx)
    return {"previous": previous} if previous else {}


def _config(config: Config) -> dict[str, Any]:
    return {"shown": shown_config(config)}


REPORT = Step(
    stage="evaluate",
    kind="report",
    version=6,
    build=_build,
    config=_config,
    inputs=_inputs,
    folder=True,
)
