"""Small charts as inline SVG, without scripts, fonts or files.

Colors are CSS classes (`c0`, `c1`, ...), so the page sets them for light and dark mode. All text is
escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 34
"""Margins of a line chart."""
_ROW_HEIGHT = 30
_LABEL_WIDTH = 84
"""Row height and width of the row labels of a dot chart."""


class Dot(NamedTuple):
    """A labeled estimate with its interval, drawn in the color class `c<color>`."""

    label: str
    value: float
    low: float
    high: float
    color: int


Point = tuple[float, float]
Band = Sequence[tuple[float, float, float]]
"""(x, low, high) of the interval around a line."""


class _Scale(NamedTuple):
    """A linear map from values to pixels, and the values to mark."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def line_chart(
    series: Mapping[str, Sequence[Point]],
    *,
    x_label: str,
    colors: Mapping[str, int] | None = None,
    from_zero: bool = False,
    bands: Mapping[str, Band] | None = None,
) -> Markup:
    """Draw a line for each series, with its band if there is one. Non-finite points are left out.

    A series without a color gets the class of its position.
    """
    lines = {name: [p for p in points if _is_finite(p)] for name, points in series.items()}
    areas = {name: [p for p in band if _is_finite(p)] for name, band in (bands or {}).items()}
    points = [point for line in lines.values() for point in line]
    points += [(x, y) for band in areas.values() for x, *ends in band for y in ends]
    if not points:
        return Markup('<p class="muted">no finite value was recorded</p>')
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x = _scale(min(xs), max(xs), _LEFT, WIDTH - _RIGHT, round_ends=False)
    y = _scale(0.0 if from_zero else min(ys), max(ys), HEIGHT - _BOTTOM, _TOP)
    parts = _x_axis(x, HEIGHT, x_label)
    for tick in y.ticks:
        parts.append(_segment(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), "grid"))
        parts.append(_text(_LEFT - 6, y(tick) + 4, _number(tick), "end"))
    for position, (name, line) in enumerate(lines.items()):
        color = (colors or {}).get(name, position % 5)
        if band := areas.get(name):
            outline = [(a, high) for a, _, high in band]
            outline += [(a, low) for a, low, _ in reversed(band)]
            parts.append(_path("polygon", [(x(a), y(b)) for a, b in outline], f"band c{color}"))
        parts.append(_line([(x(a), y(b)) for a, b in line], color))
    return _svg(parts, HEIGHT, f"{', '.join(series)} by {x_label}")


def dot_chart(dots: Sequence[Dot], *, x_label: str) -> Markup:
    """Draw one row for each dot, with its interval."""
    if not dots:
        return Markup('<p class="muted">no values</p>')
    ends = [end for dot in dots for end in (dot.low, dot.high)]
    height = _TOP + _ROW_HEIGHT * len(dots) + _BOTTOM
    x = _scale(min(ends), max(ends), _LABEL_WIDTH, WIDTH - _RIGHT - 6)
    parts = _x_axis(x, height, x_label)
    parts += [_segment(x(tick), _TOP, x(tick), height - _BOTTOM, "grid") for tick in x.ticks]
    for row, dot in enumerate(dots):
        y = _TOP + _ROW_HEIGHT * (row + 0.5)
        parts.append(_text(_LABEL_WIDTH - 8, y + 4, dot.label, "end"))
        parts.append(_segment(x(dot.low), y, x(dot.high), y, f"line c{dot.color}"))
        parts.append(_circle(x(dot.value), y, 4.5, dot.color))
    return _svg(parts, height, x_label)


def _is_finite(point: Sequence[float]) -> bool:
    return all(map(math.isfinite, point))


def _scale(low: float, high: float, start: float, end: float, *, round_ends: bool = True) -> _Scale:
    """Map [low, high] to [start, end], widened if empty, and to round values with `round_ends`."""
    if high <= low:
        high, low = low + (abs(low) or 1.0) * 0.5, low - (abs(low) or 1.0) * 0.5
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step = next(step * f for f in (1, 2, 2.5, 5, 10) if (high - low) / (step * f) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(k * step, 10) for k in range(first, last + 1))
    if round_ends:
        return _Scale(ticks[0], ticks[-1], start, end, ticks)
    return _Scale(low, high, start, end, tuple(t for t in ticks if low <= t <= high))


def _x_axis(x: _Scale, height: float, label: str) -> list[Markup]:
    marks = [_text(x(t), height - _BOTTOM + 14, _number(t), "middle") for t in x.ticks]
    return [*marks, _text((x.start + x.end) / 2, height - 4, label, "middle")]


def _line(points: Sequence[Point], color: int) -> Markup:
    if len(points) == 1:
        return _circle(*points[0], 3, color)
    return _path("polyline", points, f"line c{color}")


def _path(tag: str, points: Sequence[Point], css: str) -> Markup:
    path = " ".join(f"{x},{y}" for x, y in points)
    return Markup('<{} points="{}" class="{}"/>').format(tag, path, css)


def _circle(x: float, y: float, radius: float, color: int) -> Markup:
    return Markup('<circle cx="{}" cy="{}" r="{}" class="mark c{}"/>').format(x, y, radius, color)


def _segment(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, css)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _svg(parts: Sequence[Markup], height: float, label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, label, Markup("").join(parts)
    )
