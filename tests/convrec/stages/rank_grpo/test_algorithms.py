"""The registry of algorithms, and one that is added from outside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trl import GRPOTrainer

from convrec.config import load
from convrec.config.choices import ALGORITHMS as ALLOWED
from convrec.stages.rank_grpo.algorithms import ALGORITHMS, Algorithm, register_algorithm
from tests.support.trainings import KINDS, train


class SignedAdvantages(GRPOTrainer):
    """GRPO with the sign of the advantage in its place."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        batch["advantages"] = batch["advantages"].sign()
        return batch


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(ALLOWED, "names", list(ALLOWED.names))
    algorithm = Algorithm(
        arguments=lambda settings: {"loss_type": "grpo"}, trainer=SignedAdvantages
    )
    monkeypatch.setitem(ALGORITHMS, "signed", algorithm)
    register_algorithm("signed", algorithm)
    return "signed"


def test_the_names_of_the_configuration_are_the_algorithms() -> None:
    assert ALLOWED.names == list(ALGORITHMS)


def test_a_registered_algorithm_is_a_setting(signed: str) -> None:
    assert load("demo", {"rank_grpo.algorithm": signed}).rank_grpo.algorithm == signed


def test_a_registered_algorithm_trains(
    signed: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"algorithm": signed, "beta": 0.0}
    monkeypatch.setitem(KINDS, "signed", {"rank_grpo": settings})
    curves = train("signed", checkpoint, tmp_path / "signed", None)
    grpo = train("grpo", checkpoint, tmp_path / "grpo", None)
    assert {name for _, name, _ in curves} == {name for _, name, _ in grpo}
    assert (tmp_path / "signed" / "model.safetensors").is_file()
    assert curves != grpo
