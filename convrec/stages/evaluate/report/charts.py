"""Small charts as inline SVG: no script, no font, no file, and the page's own colours.

Colours are CSS classes (`c0`, `c1`, ...), so that the page decides them for dark and light. Every
text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 34
_ROW = 30
_LABELS = 84


class Dot(NamedTuple):
    """A labelled estimate with its interval, drawn in colour class `c<colour>`."""

    label: str
    value: float
    low: float
    high: float
    colour: int


Band = Sequence[tuple[float, float, float]]
"""(x, low, high): the interval around a line."""


class _Scale(NamedTuple):
    """A linear map from values to pixels, with the values to mark."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    colours: Mapping[str, int] | None = None,
    from_zero: bool = False,
    bands: Mapping[str, Band] | None = None,
) -> Markup:
    """Lines of (x, y) points by name, with `bands` around them; points not finite are left out."""
    finite = {name: [p for p in points if _finite(p)] for name, points in series.items()}
    around = {name: [p for p in band if _finite(p)] for name, band in (bands or {}).items()}
    points = [point for line in finite.values() for point in line]
    points += [(x, y) for band in around.values() for x, *ends in band for y in ends]
    if not points:
        return Markup('<p class="muted">no finite value was recorded</p>')
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x = _scale(min(xs), max(xs), _LEFT, WIDTH - _RIGHT, nice=False)
    y = _scale(0.0 if from_zero else min(ys), max(ys), HEIGHT - _BOTTOM, _TOP)
    parts = [_gridlines(x, y), _across(across)]
    for position, (name, line) in enumerate(finite.items()):
        colour = (colours or {}).get(name, position % 5)
        if around.get(name):
            parts.append(_band([(x(a), y(low), y(high)) for a, low, high in around[name]], colour))
        parts.append(_line([(x(a), y(b)) for a, b in line], colour))
    return _svg(parts, HEIGHT, f"{', '.join(series)} by {across}")


def dot_chart(dots: Sequence[Dot], *, across: str) -> Markup:
    """One row a dot with its interval."""
    if not dots:
        return Markup('<p class="muted">nothing to show</p>')
    bounds = [v for dot in dots for v in (dot.low, dot.high)]
    height = _TOP + _ROW * len(dots) + _BOTTOM
    x = _scale(min(bounds), max(bounds), _LABELS, WIDTH - _RIGHT - 6)
    parts = [Markup()]
    for tick in x.ticks:
        parts.append(_segment(x(tick), _TOP, x(tick), height - _BOTTOM, "grid"))
        parts.append(_text(x(tick), height - _BOTTOM + 13, _number(tick), "middle"))
    for row, dot in enumerate(dots):
        at = _TOP + _ROW * (row + 0.5)
        parts.append(_text(_LABELS - 8, at + 4, dot.label, "end"))
        parts.append(_segment(x(dot.low), at, x(dot.high), at, f"line c{dot.colour}"))
        parts.append(
            Markup('<circle cx="{}" cy="{}" r="4.5" class="mark c{}"/>').format(
                x(dot.value), at, dot.colour
            )
        )
    parts.append(_text((_LABELS + WIDTH - _RIGHT) / 2, height - 5, across, "middle"))
    return _svg(parts, height, across)


def _finite(point: Sequence[float]) -> bool:
    return all(map(math.isfinite, point))


def _scale(low: float, high: float, start: float, end: float, *, nice: bool = True) -> _Scale:
    """A scale over [low, high], widened to round marks where `nice`; never of no extent."""
    if high <= low:
        high, low = low + (abs(low) or 1.0) * 0.5, low - (abs(low) or 1.0) * 0.5
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step = next(step * f for f in (1, 2, 2.5, 5, 10) if (high - low) / (step * f) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(k * step, 10) for k in range(first, last + 1))
    if nice:
        return _Scale(ticks[0], ticks[-1], start, end, ticks)
    return _Scale(low, high, start, end, tuple(t for t in ticks if low <= t <= high))


def _gridlines(x: _Scale, y: _Scale) -> Markup:
    parts = []
    for tick in y.ticks:
        parts.append(_segment(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), "grid"))
        parts.append(_text(_LEFT - 6, y(tick) + 4, _number(tick), "end"))
    parts += [_text(x(t), HEIGHT - _BOTTOM + 14, _number(t), "middle") for t in x.ticks]
    return Markup("").join(parts)


def _across(text: str) -> Markup:
    return _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 4, text, "middle")


def _line(points: Sequence[tuple[float, float]], colour: int) -> Markup:
    if len(points) == 1:
        return Markup('<circle cx="{}" cy="{}" r="3" class="mark c{}"/>').format(*points[0], colour)
    path = " ".join(f"{a},{b}" for a, b in points)
    return Markup('<polyline points="{}" class="line c{}"/>').format(path, colour)


def _band(points: Band, colour: int) -> Markup:
    outline = [(a, high) for a, _, high in points] + [(a, low) for a, low, _ in reversed(points)]
    path = " ".join(f"{a},{b}" for a, b in outline)
    return Markup('<polygon points="{}" class="band c{}"/>').format(path, colour)


def _segment(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, css)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _svg(parts: Sequence[Markup], height: float, label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, escape(label), Markup("").join(parts)
    )
