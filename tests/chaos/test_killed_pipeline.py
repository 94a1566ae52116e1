from __future__ import annotations

from pathlib import Path

import pytest

from .pipeline import chaos


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_runs_killed_twenty_times_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    result = chaos(tmp_path, kills=20, seed=0)
    assert result["kills"] >= 18  # a moment may fall behind the end of a quick run
    assert not result["bad"], result


def test_a_data_build_killed_twice_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    result = chaos(tmp_path, kills=2, seed=1, until="adjust")
    assert result["kills"] >= 1
    assert not result["bad"], result
