"""The verdict of an evaluation in plain words: which system ranks better, and how sure that is.

It reads the paired NDCG@20 differences of a `metrics` artifact. An interval that includes 0 is
called what it is: no difference is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from convrec.stages.evaluate.report.markdown import estimate_text
from convrec.stages.evaluate.report.tables import HEADLINE_METRIC, Cell
from convrec.utils.sample_sizes import FEW_TEST_POSTS

Pair = tuple[str, str]

HEADLINES: tuple[Pair, ...] = (
    ("checkpoint", "rank_grpo"),
    ("checkpoint", "sft"),
    ("rank_grpo", "sft"),
    ("checkpoint", "teacher"),
    ("sft", "base"),
    ("sft", "teacher"),
    ("adjusted", "teacher"),
    ("remapped", "teacher"),
)
"""Pairs of systems, the first of which that was measured is the headline."""

OPPONENTS = ("base", "teacher", "knn", "popularity")
"""What the first system of the headline is compared with below it, if it was."""

SERVED = ("served", "knn")
"""What a user gets, and the baseline that a model has to beat."""

NARROW = 0.1
"""An interval only just excludes 0 if it comes closer than this share of the difference."""

ALGORITHM_NAMES = {
    "rank_grpo": "Rank-GRPO",
    "grpo": "GRPO",
    "gspo": "GSPO",
    "dr_grpo": "Dr. GRPO",
    "dapo": "DAPO",
}

SYSTEM_NAMES = {
    "teacher": "the teacher",
    "remapped": "Remap",
    "reflected": "Reflect",
    "adjusted": "Adjust",
    "base": "the base model",
    "sft": "SFT",
    "checkpoint": "the given checkpoint",
    "free": "the model without a sampler",
    "served": "the served model",
    "popularity": "the popularity baseline",
    "knn": "the kNN baseline",
}


class Finding(NamedTuple):
    """A sentence on two systems, without its period, and the difference behind it.

    `direction` is 1 if the first ranks better, -1 if it ranks worse, and 0 if the interval
    includes 0.
    """

    text: str
    difference: str
    direction: int

    def __str__(self) -> str:
        return f"{self.text}: {self.difference}."


class Verdict(NamedTuple):
    """The headline, findings that follow it, and what the reader should know of both."""

    headline: Finding | None
    others: list[Finding]
    notes: list[str]


def system_name(system: str, algorithm: str) -> str:
    """Return a system in words; `algorithm` is the setting `rank_grpo.algorithm`."""
    if system == "rank_grpo":
        return ALGORITHM_NAMES.get(algorithm, algorithm)
    return SYSTEM_NAMES.get(system, system)


def evaluation_verdict(
    pairs: Mapping[Pair, Mapping[str, Cell]],
    systems: Mapping[str, Mapping[str, Cell]],
    algorithm: str,
    unit: str,
) -> Verdict:
    """Return the verdict of the `pairs` and `systems` of `metric_tables`.

    `unit` is what intervals resample.
    """
    shown = next((pair for pair in HEADLINES if pair in pairs), None)
    if shown is None:
        return Verdict(None, [], _single_values(systems, algorithm))
    wanted = [(shown[0], b) for b in OPPONENTS if (shown[0], b) != shown]
    others = [_short_finding(pair, pairs[pair], algorithm) for pair in wanted if pair in pairs]
    if SERVED in pairs:
        others.append(_served(pairs[SERVED], algorithm))
    headline = _headline(shown, pairs[shown], algorithm)
    cell = pairs[shown][HEADLINE_METRIC]
    notes = [
        f"Paired on {cell['n']:,} test samples with lists of both. 95% intervals over {unit}; they "
        "do not cover what another training seed would change."
    ]
    if cell["n"] < FEW_TEST_POSTS:
        notes.append(
            f"{cell['n']:,} test samples are few (fewer than {FEW_TEST_POSTS}): other samples may "
            "well give another result."
        )
    values = [systems.get(system, {}).get(HEADLINE_METRIC, {}).get("value") for system in shown]
    if values == [0, 0]:
        notes.insert(0, "Both score 0: no list of either names a right item.")
    size = pairs[shown].get(f"detectable {HEADLINE_METRIC}")
    if headline.direction == 0 and size and size["value"] > 0:
        notes.insert(
            0,
            f"A test set of this size detects a true difference of {size['value']:.3f} with "
            "probability 0.8; a smaller one can be there and not be seen.",
        )
    return Verdict(headline, others, notes)


def _single_values(systems: Mapping[str, Mapping[str, Cell]], algorithm: str) -> list[str]:
    """Sentences for systems that were not compared."""
    return [
        f"Nothing is compared with {system_name(system, algorithm)}, which has NDCG@20 "
        f"{estimate_text(cells[HEADLINE_METRIC])}."
        for system, cells in systems.items()
        if HEADLINE_METRIC in cells
    ]


def _headline(pair: Pair, cells: Mapping[str, Cell], algorithm: str) -> Finding:
    a, b = (system_name(system, algorithm) for system in pair)
    cell = cells[HEADLINE_METRIC]
    finding = compare_in_words(a, b, cell)
    return finding._replace(difference=f"{finding.difference}; {interval_text(cell)}")


def _served(cells: Mapping[str, Cell], algorithm: str) -> Finding:
    a, b = (system_name(system, algorithm) for system in SERVED)
    return compare_in_words(a, b, cells[HEADLINE_METRIC])


def _short_finding(pair: Pair, cells: Mapping[str, Cell], algorithm: str) -> Finding:
    """A finding on the first system of the headline, which it does not name again."""
    name, cell = system_name(pair[1], algorithm), cells[HEADLINE_METRIC]
    text = {
        1: f"Better than {name}",
        0: f"No difference from {name} is shown",
        -1: f"Worse than {name}",
    }
    direction = _direction(cell)
    return Finding(text[direction], _interval(cell), direction)


def compare_in_words(a: str, b: str, cell: Cell) -> Finding:
    """Return the finding of the paired NDCG@20 difference a − b."""
    direction, difference = _direction(cell), f"NDCG@20 {_interval(cell)}"
    if cell["low"] == cell["high"] == 0:
        return Finding(f"{_capitalized(a)} and {b} rank alike", difference, 0)
    if direction == 0:
        return Finding(f"No difference between {a} and {b} is shown", difference, 0)
    text = f"{_capitalized(a)} ranks {'better' if direction > 0 else 'worse'} than {b}"
    return Finding(text, difference, direction)


def interval_text(cell: Cell) -> str:
    """Whether the interval of a difference includes 0."""
    if _direction(cell) == 0:
        return "the 95% interval includes 0"
    nearest = min(abs(cell["low"]), abs(cell["high"]))
    is_narrow = nearest < NARROW * abs(cell["value"])
    return f"the 95% interval {'only just ' if is_narrow else ''}excludes 0"


def _direction(cell: Cell) -> int:
    return int(cell["low"] > 0) - int(cell["high"] < 0)


def _interval(cell: Cell) -> str:
    """The difference with its interval, in enough digits to see on which side of 0 an end is."""
    value, low, high = (_signed(cell[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _signed(value: float) -> str:
    digits = next((d for d in (3, 4) if round(value, d)), 5 if value else 3)
    return f"{value:+.{digits}f}"


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
