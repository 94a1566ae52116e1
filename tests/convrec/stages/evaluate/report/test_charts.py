"""Charts: well-formed SVG with marks at the right positions."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from convrec.stages.evaluate.report.charts import HEIGHT, WIDTH, Dot, dot_chart, line_chart


def test_line_is_inside_and_rises_with_the_values() -> None:
    svg = ElementTree.fromstring(
        line_chart({"loss": [(1, 0.0), (2, 1.0), (3, 4.0)]}, x_label="step")
    )
    points = svg.find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    (x1, y1), (x2, y2), (x3, y3) = (tuple(map(float, point.split(","))) for point in points)
    assert 0 <= x1 < x2 < x3 <= WIDTH
    assert HEIGHT >= y1 > y2 > y3 >= 0


@pytest.mark.parametrize("points", [[(5, 2.0)], [(1, 3.0), (2, 3.0)], [(1, 0.0), (2, 0.0)]])
def test_single_point_and_flat_line(points: list[tuple[float, float]]) -> None:
    svg = ElementTree.fromstring(line_chart({"flat": points}, x_label="step"))
    assert len(svg.findall("polyline")) + len(svg.findall("circle")) == 1


def test_non_finite_values_are_left_out() -> None:
    svg = line_chart({"loss": [(1, 1.0), (2, float("nan")), (3, 2.0)]}, x_label="step")
    assert "nan" not in svg
    assert "no finite value" in line_chart({"loss": [(1, float("inf"))]}, x_label="step")


def test_labels_are_escaped() -> None:
    svg = dot_chart([Dot("<b>", 0.1, 0.0, 0.2, 0)], x_label='"x" <i>')
    ElementTree.fromstring(svg)
    assert "<b>" not in svg
    assert "<i>" not in svg


def test_band_surrounds_its_line() -> None:
    band = [(1, 0.0, 2.0), (2, 1.0, 3.0)]
    svg = ElementTree.fromstring(
        line_chart({"ndcg": [(1, 1.0), (2, 2.0)]}, x_label="step", bands={"ndcg": band})
    )
    outline = svg.find("polygon").attrib["points"].split()  # type: ignore[union-attr]
    assert len(outline) == 4
    line = svg.find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    (_, top), (_, at), (_, bottom) = (
        tuple(map(float, spot.split(","))) for spot in (outline[0], line[0], outline[3])
    )
    assert top < at < bottom
