"""A trace as a piece of HTML, for the report and for whoever else shows one.

Posts, titles and model output are escaped by jinja2's autoescape.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.templates import template
from convrec.trace.follow import follow
from convrec.trace.line import line_of

if TYPE_CHECKING:
    from markupsafe import Markup

    from convrec.artifacts import Job

SHOWN_CANDIDATES = 40


def trace_html(traced: dict[str, Any]) -> Markup:
    """What `follow` gives, as one `<details>` element; styles are those of the page around it."""
    from markupsafe import Markup

    page = template(Path(__file__).with_name("trace.html.j2"))
    return Markup(page.render(traced, shown=SHOWN_CANDIDATES))  # noqa: S704 - autoescaped


def traces(job: Job, sample_ids: Iterable[str]) -> dict[str, Markup]:
    """The traces of some samples of one `conversations`, along the line of a job's parents."""
    names = list(sample_ids)
    if not names:
        return {}
    line = line_of(job.store, names[0], [ref.artifact_id for ref in job.parents.values()])
    return {name: trace_html(follow(job.store, name, line)) for name in names}
