"""Facts of the test set that a reader of its metrics needs, as figures of the `metrics` artifact.

intervals over                 what intervals resample: posts, or dialogues
posts of S, dialogues of S     how many of them have a list of system S
ground truths                  wanted items of all test samples
ground truths in the catalog   the share of them that a list can hit; the others count as misses
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convrec.stages.evaluate.evaluator import Evaluator
from convrec.stages.evaluate.samples import Sample, SampleList
from convrec.titles.index import TitleIndex

UNIT = "intervals over"
GROUND_TRUTHS = "ground truths"
REACHABLE = "ground truths in the catalog"


def held_out_figures(
    evaluator: Evaluator, lists: Mapping[str, Sequence[SampleList]]
) -> dict[str, Any]:
    """Return the figures; `lists` are those of each system."""
    unit = evaluator.unit
    return {
        UNIT: unit,
        **{f"{unit} of {system}": evaluator.count_units(each) for system, each in lists.items()},
        GROUND_TRUTHS: sum(len(sample.ground_truth) for sample in evaluator.samples),
        REACHABLE: reachable_share(evaluator.samples, evaluator.index),
    }


def reachable_share(samples: Sequence[Sample], index: TitleIndex) -> float:
    """Return the share of wanted items that the catalog has, rounded to 4 decimals."""
    found = [index.find(*title) is not None for sample in samples for title in sample.ground_truth]
    return round(sum(found) / len(found), 4)


def held_out_json(figures: Mapping[str, Any], systems: Iterable[str]) -> dict[str, Any]:
    """Return `test_set` of a run's JSON file; empty for metrics that older versions stored."""
    if UNIT not in figures:
        return {}
    unit = figures[UNIT]
    return {
        "unit": unit,
        "units": {s: figures[f"{unit} of {s}"] for s in systems if f"{unit} of {s}" in figures},
        "ground_truths": figures[GROUND_TRUTHS],
        "in_catalog": figures[REACHABLE],
    }


def units_text(test_set: Mapping[str, Any]) -> str:
    """Return a sentence on what intervals resample and how many; empty where it is not known."""
    counts = test_set.get("units", {}).values()
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    number = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    return f"95% intervals are over {number} {test_set['unit']}."


def reachable_text(test_set: Mapping[str, Any]) -> str:
    """Return a sentence on wanted items outside the catalog; empty where it is not known."""
    if "in_catalog" not in test_set:
        return ""
    share, count = test_set["in_catalog"], test_set["ground_truths"]
    if share == 1:
        return f"All {count:,} ground truths are in the catalog."
    return (
        f"{share:.1%} of the {count:,} ground truths are in the catalog; the others stay in the "
        "denominators and count as misses."
    )
