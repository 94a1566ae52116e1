"""Runs that are killed end with the same artifacts as undisturbed ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store
from tests.support.killed_runs import differences, kill_runs, start, wait_or_kill


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_runs_end_like_an_undisturbed_one(tmp_path: Path) -> None:
    result = kill_runs(tmp_path, kills=20, seed=0)
    assert result["kills"] == 20
    assert not result["bad"], result


@pytest.mark.timeout(3600)
def test_a_killed_data_build_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    result = kill_runs(tmp_path, kills=2, seed=1, until="adjust")
    assert result["kills"] == 2
    assert not result["bad"], result


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_same_seed_gives_the_same_checkpoint_bytes(tmp_path: Path) -> None:
    stores = []
    for name in ("one", "other"):
        folder = tmp_path / name
        wait_or_kill(start(folder), folder, float("inf"))
        stores.append(Store(folder / "home"))
    assert differences(*stores) == []
    weights = [
        (stores[0].folder(header.ref.artifact_id) / "model.safetensors").read_bytes()
        for header in stores[0].headers("checkpoint")
    ]
    assert len(set(weights)) == 2  # Rank-GRPO has changed the weights
