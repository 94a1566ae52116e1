"""A trace as a piece of HTML, for the report and for whoever else shows one.

Posts, titles and model output are escaped by jinja2's autoescape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.trace.conversation import trace_conversation
from convrec.artifacts.trace.lineage_path import lineage_path_through
from convrec.utils.html import load_template

if TYPE_CHECKING:
    from markupsafe import Markup

    from convrec.artifacts.store import Store

MAX_CANDIDATES_SHOWN = 40


def render_trace(traced: dict[str, Any]) -> Markup:
    """What `follow` gives, as one `<details>` element; styles are those of the page around it."""
    from markupsafe import Markup

    page = load_template(Path(__file__).with_name("trace.html.j2"))
    return Markup(page.render(traced, shown=MAX_CANDIDATES_SHOWN))  # noqa: S704 - autoescaped


def render_traces(
    store: Store, sample_ids: Iterable[str], artifact_ids: Collection[str]
) -> dict[str, Markup]:
    """The traces of some samples of one `conversations`, along the line of some artifacts."""
    names = list(sample_ids)
    if not names:
        return {}
    line = lineage_path_through(store, names[0], artifact_ids)
    return {name: render_trace(trace_conversation(store, name, line)) for name in names}
