"""A trace as HTML, for the report. jinja2 escapes posts, titles and model output."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from convrec.artifacts.store import Store
from convrec.artifacts.trace.conversation import trace_conversation
from convrec.artifacts.trace.lineage_path import lineage_path_through
from convrec.utils.html import load_template

MAX_CANDIDATES_SHOWN = 40


def render_trace(trace: dict[str, Any]) -> Markup:
    """The result of `trace_conversation` as one `<details>` element, styled by its page."""
    page = load_template(Path(__file__).with_name("trace.html.j2"))
    return Markup(page.render(trace, shown=MAX_CANDIDATES_SHOWN))  # noqa: S704 - autoescaped


def render_traces(
    store: Store, sample_ids: Iterable[str], artifact_ids: Collection[str]
) -> dict[str, Markup]:
    """Sample id → trace along the path through some artifacts; all samples of one artifact."""
    names = list(sample_ids)
    if not names:
        return {}
    path = lineage_path_through(store, names[0], artifact_ids)
    return {name: render_trace(trace_conversation(store, name, path)) for name in names}
