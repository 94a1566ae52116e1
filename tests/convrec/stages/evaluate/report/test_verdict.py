"""The verdict of an evaluation in plain words."""

from __future__ import annotations

import pytest

from convrec.stages.evaluate.report.tables import Cell
from convrec.stages.evaluate.report.verdict import evaluation_verdict, interval_text

Pairs = dict[tuple[str, str], tuple[float, float, float]]


def cells(value: float, low: float, high: float) -> dict[str, Cell]:
    found = {"ndcg@20": (value, low, high), "detectable ndcg@20": (0.06, 0.06, 0.06)}
    return {
        name: {"metric": name, "value": v, "low": a, "high": b, "n": 1234}
        for name, (v, a, b) in found.items()
    }


def sentences(pairs: Pairs, algorithm: str = "rank_grpo") -> tuple[str, list[str], list[str]]:
    verdict = evaluation_verdict(
        {pair: cells(*values) for pair, values in pairs.items()}, {}, algorithm, "posts"
    )
    return str(verdict.headline), [str(finding) for finding in verdict.others], verdict.notes


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            (0.044, 0.014, 0.076),
            "Rank-GRPO ranks better than SFT: NDCG@20 +0.044 [+0.014, +0.076]; the 95% interval "
            "excludes 0.",
        ),
        (
            (-0.05, -0.09, -0.01),
            "Rank-GRPO ranks worse than SFT: NDCG@20 -0.050 [-0.090, -0.010]; the 95% interval "
            "excludes 0.",
        ),
        (
            (0.04, 0.0001, 0.08),
            "Rank-GRPO ranks better than SFT: NDCG@20 +0.040 [+0.0001, +0.080]; the 95% interval "
            "only just excludes 0.",
        ),
        (
            (0.02, -0.01, 0.05),
            "No difference between Rank-GRPO and SFT is shown: NDCG@20 +0.020 [-0.010, +0.050]; "
            "the 95% interval includes 0.",
        ),
        (
            (0.0, 0.0, 0.0),
            "Rank-GRPO and SFT rank alike: NDCG@20 +0.000 [+0.000, +0.000]; the 95% interval "
            "includes 0.",
        ),
    ],
)
def test_the_headline_is_as_sure_as_the_interval(
    values: tuple[float, float, float], sentence: str
) -> None:
    headline, others, notes = sentences({("rank_grpo", "sft"): values})
    assert headline == sentence
    assert others == []
    assert notes[-1].startswith("Paired on 1,234 test samples with lists of both.")
    is_unsure = "includes 0" in sentence
    assert any("detects a true difference of 0.060" in note for note in notes) == is_unsure


def test_other_systems_follow_the_headline() -> None:
    headline, others, _ = sentences(
        {
            ("rank_grpo", "sft"): (0.1, 0.05, 0.15),
            ("rank_grpo", "teacher"): (0.1, -0.05, 0.25),
            ("rank_grpo", "knn"): (-0.1, -0.15, -0.05),
            ("rank_grpo", "popularity"): (0.1, 0.05, 0.15),
            ("served", "knn"): (0.2, 0.1, 0.3),
            ("adjusted", "teacher"): (0.1, 0.05, 0.15),
        },
        "dr_grpo",
    )
    assert headline.startswith("Dr. GRPO ranks better than SFT")
    assert others == [
        "No difference from the teacher is shown: +0.100 [-0.050, +0.250].",
        "Worse than the kNN baseline: -0.100 [-0.150, -0.050].",
        "Better than the popularity baseline: +0.100 [+0.050, +0.150].",
        "The served model ranks better than the kNN baseline: NDCG@20 +0.200 [+0.100, +0.300].",
    ]


def test_a_checkpoint_from_elsewhere_and_data_alone() -> None:
    headline, _, _ = sentences({("checkpoint", "teacher"): (0.1, 0.05, 0.15)}, "grpo")
    assert headline.startswith("The given checkpoint ranks better than the teacher")
    headline, _, _ = sentences({("adjusted", "teacher"): (0.1, 0.05, 0.15)})
    assert headline.startswith("Adjust ranks better than the teacher")


def test_systems_without_a_pair_are_only_named() -> None:
    verdict = evaluation_verdict({}, {"remapped": cells(0.5, 0.4, 0.6)}, "rank_grpo", "posts")
    assert verdict.headline is None
    assert verdict.notes == [
        "Nothing is compared with Remap, which has NDCG@20 0.500 [0.400, 0.600]."
    ]


def test_an_interval_that_ends_at_zero_includes_it() -> None:
    assert interval_text(cells(0.1, 0.0, 0.2)["ndcg@20"]) == "the 95% interval includes 0"


def test_a_small_test_set_without_a_hit_is_called_so() -> None:
    zero: dict[str, Cell] = {
        name: {"metric": name, "value": 0.0, "low": 0.0, "high": 0.0, "n": 6}
        for name in ("ndcg@20", "detectable ndcg@20")
    }
    systems = {"rank_grpo": zero, "sft": zero}
    notes = evaluation_verdict({("rank_grpo", "sft"): zero}, systems, "rank_grpo", "posts").notes
    assert notes[0] == "Both score 0: no list of either names a right item."
    assert notes[-1].startswith("6 test samples are few")
    assert not any("detects" in note for note in notes)
