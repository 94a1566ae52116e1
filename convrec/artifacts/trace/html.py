"""A trace as a piece of HTML, for the report and for whoever else shows one.

Posts, titles and model output are escaped by jinja2's autoescape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.trace.conversation import trace_conversation
from convrec.artifacts.trace.lineage_path import path_of
from convrec.utils.html import template

if TYPE_CHECKING:
    from markupsafe import Markup

    from convrec.artifacts.store import Store

SHOWN_CANDIDATES = 40


def trace_html(traced: dict[str, Any]) -> Markup:
    """What `follow` gives, as one `<details>` element; styles are those of the page around it."""
    from markupsafe import Markup

    page = template(Path(__file__).with_name("trace.html.j2"))
    return Markup(page.render(traced, shown=SHOWN_CANDIDATES))  # noqa: S704 - autoescaped


def traces(
    store: Store, sample_ids: Iterable[str], artifact_ids: Collection[str]
) -> dict[str, Markup]:
    """The traces of some samples of one `conversations`, along the line of some artifacts."""
    names = list(sample_ids)
    if not names:
        return {}
    line = path_of(store, names[0], artifact_ids)
    return {name: trace_html(trace_conversation(store, name, line)) for name in names}
