"""`train.launcher=accelerate`: two CPU processes train as one does, say what fails, and go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convrec.errors import TrainingError
from convrec.training.checkpoint import step_of
from convrec.training.job import Fit
from convrec.training.launch import trained
from tests.convrec.rank_grpo.conftest import checkpoint
from tests.convrec.stages.rank_grpo.world import recorded, weights
from tests.scale import fits
from tests.scale.conftest import Timed
from tests.scale.fits import FITS, TWO, given, launch_killed

__all__ = ["checkpoint"]

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.mark.parametrize("stage", ["sft", "rank_grpo"])
def test_two_processes_train_as_one(
    checkpoint: Path, tmp_path: Path, stage: str, timed: Timed
) -> None:
    told: list[tuple[int, int, str]] = []
    for name, train in {"one": {"launcher": "process"}, "two": TWO}.items():
        torch.set_num_threads(1)
        asked = given(stage, checkpoint, tmp_path / name, tmp_path / f"{name}-working", **train)
        told.clear()
        with timed(f"{name} of {stage}"):
            figures, curves = trained(FITS[stage], asked, lambda *said: told.append(said))
        assert figures.get("processes", 1) == train.get("processes", 1)
        assert len(curves) > 0
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    apart = (one - two).abs()  # AdamW makes much of a gradient that is nearly 0
    assert apart.max() < 1e-3
    assert (apart > 1e-4).float().mean() < 1e-4
    alone, together = recorded(tmp_path / "one"), recorded(tmp_path / "two")
    assert len(alone) == len(together)
    for expected, line in zip(alone, together, strict=True):
        assert line == pytest.approx(expected, abs=2e-4, nan_ok=True), expected["step"]
    assert told[-1][0] == told[-1][1] == figures["steps"]


@pytest.mark.parametrize(("stage", "kill", "saved"), [("sft", 12, 10), ("rank_grpo", 5, 4)])
def test_a_killed_launch_goes_on(
    checkpoint: Path, tmp_path: Path, stage: str, kill: int, saved: int
) -> None:
    folder, out = tmp_path / "working", tmp_path / "out"
    launch_killed("tests.scale.fits", stage, checkpoint, out, folder, kill)
    assert not out.exists()
    found = max(folder.glob("checkpoint-*"), key=step_of)
    assert step_of(found) >= saved  # its processes live a moment longer

    steps: list[int] = []
    asked = given(stage, checkpoint, out, folder, **TWO)
    _, curves = trained(FITS[stage], asked, lambda done, total, text: steps.append(done))
    assert steps[0] > saved
    whole = tmp_path / "whole"
    asked = given(stage, checkpoint, whole, tmp_path / "other", **TWO)
    _, expected = trained(FITS[stage], asked, lambda *said: None)
    lasting = [c for c in expected.iter_rows() if "seconds" not in c[1]]
    assert [c for c in curves.iter_rows() if "seconds" not in c[1]] == lasting
    assert torch.equal(weights(out), weights(whole))


def test_a_port_that_another_has_is_looked_for_again(checkpoint: Path, tmp_path: Path) -> None:
    asked = given("sft", checkpoint, tmp_path / "out", tmp_path / "working", **TWO)
    figures, _ = trained(fits.port_taken, asked, lambda *said: None)
    assert figures["processes"] == 2
    assert (tmp_path / "working" / "tried").exists()


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (fits.unexpected, r"failed \(exit status 1\): KeyError: 'no such film'; its log is"),
        (fits.killed, r"killed with SIGKILL.*lower sft.batch_size=2"),
        (fits.too_large, r"ran out of memory \(.*20.00 GiB\); lower sft.batch_size=2"),
        (fits.leaves, r"failed \(exit status 7\): it said nothing of why; its log is"),
    ],
)
def test_a_failed_launch_is_one_sentence(
    checkpoint: Path, tmp_path: Path, fit: Fit, said: str
) -> None:
    asked = given("sft", checkpoint, tmp_path / "out", tmp_path / "working", **TWO)
    with pytest.raises(TrainingError, match=said) as raised:
        trained(fit, asked, lambda *said: None)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "working").glob("launch-*/"))
