"""Length and fault terms in the reward of algorithms that reward whole lists."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
from pydantic import ValidationError

from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.utils.progress import no_progress
from tests.support.trainings import FILMS, SAMPLES, config, weights

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def train(checkpoint: Path, out: Path, **settings: object) -> pl.DataFrame:
    torch.set_num_threads(1)
    values = config(algorithm="grpo", group_size=4, **settings)
    index = TitleIndex(FILMS)
    return train_rank_grpo(checkpoint, SAMPLES, index, values, out, 5, no_progress)[1]


def curve(curves: pl.DataFrame, name: str) -> list[float]:
    return curves.filter(pl.col("name") == name).sort("step")["value"].to_list()


def test_the_terms_change_what_a_baseline_learns(checkpoint: Path, tmp_path: Path) -> None:
    plain = train(checkpoint, tmp_path / "plain", early=-1.0, fault=1.5)
    shaped = train(checkpoint, tmp_path / "shaped", early=-1.0, fault=1.5, reward_shaping=True)
    assert not curve(plain, "shaping")
    values = curve(shaped, "shaping")
    assert len(values) == 2
    assert min(values) < 0  # some list of the first step ends early or has a fault
    assert curve(shaped, "reward")[0] == pytest.approx(curve(plain, "reward")[0])  # NDCG alone
    assert not torch.equal(weights(tmp_path / "plain"), weights(tmp_path / "shaped"))


def test_terms_of_zero_change_nothing(checkpoint: Path, tmp_path: Path) -> None:
    zero = {"early": 0.0, "exact": 0.0, "overflow": 0.0, "fault": 0.0}
    train(checkpoint, tmp_path / "plain", **zero)
    curves = train(checkpoint, tmp_path / "shaped", **zero, reward_shaping=True)
    assert set(curve(curves, "shaping")) == {0.0}
    assert torch.equal(weights(tmp_path / "plain"), weights(tmp_path / "shaped"))


def test_rank_grpo_has_the_terms_anyway() -> None:
    with pytest.raises(ValidationError, match="leave reward_shaping to the other algorithms"):
        config(algorithm="rank_grpo", reward_shaping=True)
