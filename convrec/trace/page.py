"""A trace as a piece of HTML, for the report and for whoever else shows one.

Posts, titles and model output are escaped by jinja2's autoescape.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.trace.follow import follow
from convrec.trace.line import line_of

if TYPE_CHECKING:
    from markupsafe import Markup

    from convrec.artifacts import Job

SHOWN_CANDIDATES = 40


def trace_html(traced: dict[str, Any]) -> Markup:
    """What `follow` gives, as one `<details>` element without styles of its own."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("trace.html.j2")
    return Markup(template.render(traced, shown=SHOWN_CANDIDATES))


def traces(job: Job, sample_ids: Iterable[str]) -> dict[str, Markup]:
    """The traces of some samples along the line of a job's parents."""
    made = [ref.artifact_id for ref in job.parents.values()]
    return {
        sample_id: trace_html(follow(job.store, sample_id, line_of(job.store, sample_id, made)))
        for sample_id in sample_ids
    }
