"""A trace as a piece of HTML, for the report and for whoever else shows one.

Posts, titles and model output are escaped by jinja2's autoescape.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

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
