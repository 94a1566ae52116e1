"""Charts of the reports as self-contained SVG files, for Prefect and for documents."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from convrec.stages.evaluate.report.charts import HEIGHT, WIDTH

STYLE = """<style>
svg { background: #fff; font: 9px system-ui, sans-serif }
.grid { stroke: #ddd; stroke-width: .6 } .line { fill: none; stroke-width: 1.6 }
.c0 { stroke: #1a6fb5 } .c1 { stroke: #d1495b } .c2 { stroke: #2e8b57 }
.c3 { stroke: #8a5cb8 } .c4 { stroke: #c77d0a } .c5 { stroke: #5a6472 }
text.c0, text.c1, text.c2, text.c3, text.c4, text.c5 { stroke-width: .3; font-size: 9px }
.band { opacity: .15; stroke: none } .band.c0 { fill: #1a6fb5 } .band.c1 { fill: #d1495b }
.mark.c0 { fill: #1a6fb5 } .mark.c1 { fill: #d1495b }
</style>"""

_TITLE_HEIGHT = 20


def legend(colors: Mapping[str, int], x: float, y: float) -> Markup:
    """The names of lines in their colors, one below the other."""
    return Markup("").join(
        Markup('<text x="{}" y="{}" class="c{}">{}</text>').format(x, y + 10 * color, color, name)
        for name, color in colors.items()
    )


def panels(charts: Mapping[str, Markup], colors: Mapping[str, int], label: str) -> str:
    """Title → chart, two in a row, below a label and a legend."""
    height, top = HEIGHT + _TITLE_HEIGHT, 2 * _TITLE_HEIGHT
    parts = [Markup('<text x="46" y="14">{}</text>').format(label)]
    for number, (title, chart) in enumerate(charts.items()):
        x, y = number % 2 * WIDTH, top + number // 2 * height
        parts.append(
            Markup('<text x="{}" y="{}" font-weight="bold">{}</text>').format(x + 46, y + 14, title)
        )
        place = f'<svg x="{x}" y="{y + _TITLE_HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        parts.append(Markup(str(chart).replace("<svg ", place, 1)))  # noqa: S704 - escaped parts
    parts.append(legend(colors, 2 * WIDTH - 70, 10))
    width, total = 2 * WIDTH, top + -(-len(charts) // 2) * height
    opening = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
        'role="img" aria-label="{2}">'
    ).format(width, total, label)
    return f"{opening}{STYLE}{Markup('').join(parts)}</svg>"
