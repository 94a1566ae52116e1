"""Ctrl-C in a terminal ends a run within seconds, at random moments of every stage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.demo_process import DemoProcess
from tests.support.interrupted_runs import MOMENTS, Place, Try, interrupt, interrupt_runs, print_row


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("with_server", [False, True], ids=["own server", "PREFECT_API_URL"])
def test_ctrl_c_ends_a_run_at_any_moment(tmp_path: Path, with_server: bool) -> None:
    results = interrupt_runs(tmp_path, 20, 0, with_server=with_server)
    assert len(results) == 20
    assert [result for result in results if not result.is_good] == []


@pytest.mark.timeout(1200)
def test_ctrl_c_with_requests_in_flight(tmp_path: Path) -> None:
    endpoint = DemoProcess(tmp_path, "", 0, latency_ms=300)
    recommend = next(moment for moment in MOMENTS if moment.name == "recommend")
    try:
        result = interrupt(Place(tmp_path / "run", endpoint.url), recommend, 1.5)
    finally:
        endpoint.close()
    print_row(result)
    assert (result.code, result.states, result.left_over) == (130, ["CANCELLED"], [])
    assert result.seconds <= 5 or os.getloadavg()[0] > 2 * (os.cpu_count() or 1), result


@pytest.mark.parametrize(
    ("result", "good"),
    [
        (Try("sft", 1.0, code=130, seconds=4.9, states=["CANCELLED"]), True),
        (Try("imports", 0.1, code=130, seconds=0.1), True),
        (Try("sft", 1.0, code=130, seconds=5.1, states=["CANCELLED"]), False),
        (Try("sft", 1.0, code=1, seconds=1.0, states=["CANCELLED"]), False),
        (Try("sft", 1.0, code=None, seconds=60.0, states=["RUNNING"]), False),
        (Try("sft", 1.0, code=130, seconds=1.0, states=["CRASHED"]), False),
        (Try("sft", 1.0, code=130, seconds=1.0, states=["RUNNING"]), False),
        (Try("sft", 1.0, code=130, seconds=1.0, states=["CANCELLED"], left_over=["x"]), False),
        (Try("sft", 1.0, code=130, seconds=1.0, states=["CANCELLED"], lost=1), False),
    ],
)
def test_what_counts_as_good(result: Try, good: bool) -> None:
    assert result.is_good is good
