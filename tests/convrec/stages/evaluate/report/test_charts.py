"""Charts: well-formed SVG whose marks stand where the values are."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from convrec.stages.evaluate.report.charts import HEIGHT, WIDTH, Dot, dot_chart, line_chart


def test_lines_stay_inside_and_rise_with_the_values() -> None:
    svg = ElementTree.fromstring(
        line_chart({"loss": [(1, 0.0), (2, 1.0), (3, 4.0)]}, across="step")
    )
    points = svg.find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    spots = [tuple(map(float, point.split(","))) for point in points]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in spots)
    assert spots[0][1] > spots[1][1] > spots[2][1]


@pytest.mark.parametrize("points", [[(5, 2.0)], [(1, 3.0), (2, 3.0)], [(1, 0.0), (2, 0.0)]])
def test_one_point_or_a_flat_line_can_be_drawn(points: list[tuple[float, float]]) -> None:
    ElementTree.fromstring(line_chart({"flat": points}, across="step"))


def test_values_that_are_not_finite_are_left_out() -> None:
    svg = line_chart({"loss": [(1, 1.0), (2, float("nan")), (3, 2.0)]}, across="step")
    assert "nan" not in svg
    assert "no finite value" in line_chart({"loss": [(1, float("inf"))]}, across="step")


def test_names_are_escaped() -> None:
    svg = dot_chart([Dot("<b>", 0.1, 0.0, 0.2, 0)], across='"x" <i>')
    ElementTree.fromstring(svg)
    assert "<b>" not in svg
    assert "<i>" not in svg


def test_a_band_surrounds_its_line() -> None:
    band = [(1, 0.0, 2.0), (2, 1.0, 3.0)]
    svg = ElementTree.fromstring(
        line_chart({"ndcg": [(1, 1.0), (2, 2.0)]}, across="step", bands={"ndcg": band})
    )
    outline = svg.find("polygon").attrib["points"].split()  # type: ignore[union-attr]
    assert len(outline) == 4
    line = svg.find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    (_, top), (_, at), (_, bottom) = (
        tuple(map(float, spot.split(","))) for spot in (outline[0], line[0], outline[3])
    )
    assert top < at < bottom
