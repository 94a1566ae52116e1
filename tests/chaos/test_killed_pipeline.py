from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store

from .pipeline import chaos, differences, follow, start


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_runs_killed_twenty_times_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    result = chaos(tmp_path, kills=20, seed=0)
    assert result["kills"] == 20
    assert not result["bad"], result


@pytest.mark.timeout(3600)
def test_a_data_build_killed_twice_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    result = chaos(tmp_path, kills=2, seed=1, until="adjust")
    assert result["kills"] == 2
    assert not result["bad"], result


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_same_seed_gives_the_same_artifacts_and_checkpoint_bytes(tmp_path: Path) -> None:
    stores = []
    for name in ("one", "other"):
        folder = tmp_path / name
        follow(start(folder), folder, float("inf"))
        stores.append(Store(folder / "home"))
    assert differences(*stores) == []
    trained = [
        (stores[0].folder(header.ref.artifact_id) / "model.safetensors").read_bytes()
        for header in stores[0].headers("checkpoint")
    ]
    assert len(set(trained)) == 2  # Rank-GRPO has moved the weights, so that equal says something
