"""`train.parallel` fsdp and zero3: two processes that have a part of the weights train as one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from statistics import mean

import pytest
import torch

from convrec.training.checkpoint import step_of
from convrec.training.launch import trained
from tests.convrec.rank_grpo.conftest import checkpoint
from tests.convrec.stages.rank_grpo.world import recorded, weights
from tests.scale import cut
from tests.scale.conftest import Timed
from tests.scale.fits import FITS, given, launch_killed

__all__ = ["checkpoint"]
pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore::FutureWarning")]

ZERO3 = pytest.param(
    "zero3", marks=pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs deepspeed")
)


@pytest.mark.parametrize("parallel", ["fsdp", ZERO3])
def test_processes_with_a_part_of_the_weights_train_as_one(
    checkpoint: Path,
    tmp_path: Path,
    parallel: str,
    timed: Timed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    torch.set_num_threads(1)
    alone = given("sft", checkpoint, tmp_path / "one", tmp_path / "1", launcher="process")
    with timed("one of sft"):
        trained(FITS["sft"], alone, lambda *said: None)
    shared = {**cut.CUT, "parallel": parallel}
    asked = given("sft", checkpoint, tmp_path / "two", tmp_path / "2", **shared)
    with timed(f"two of sft by {parallel}"):
        figures, _ = cut.trained(cut.fit_cut, asked, lambda *said: None)
    assert figures["processes"] == 2
    assert figures["cut"] == "true"
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-3
    steps = zip(recorded(tmp_path / "one"), recorded(tmp_path / "two"), strict=True)
    for expected, line in steps:
        assert line == pytest.approx(expected, abs=2e-4), expected["step"]


def test_a_killed_launch_of_fsdp_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "working", tmp_path / "out"
    launch_killed("tests.scale.cut", checkpoint, out, folder, 12)
    assert not out.exists()
    saved = step_of(max(folder.glob("checkpoint-*"), key=step_of))
    assert saved >= 10

    steps: list[int] = []
    asked = given("sft", checkpoint, out, folder, **cut.CUT)
    cut.trained(cut.fit_cut, asked, lambda done, total, text: steps.append(done))
    assert steps[0] == saved + 1
    asked = given("sft", checkpoint, tmp_path / "whole", tmp_path / "other", **cut.CUT)
    cut.trained(cut.fit_cut, asked, lambda *said: None)
    assert recorded(out) == recorded(tmp_path / "whole")
    assert torch.equal(weights(out), weights(tmp_path / "whole"))


def test_fsdp_in_bf16_tells_its_loss_in_float32(checkpoint: Path, tmp_path: Path) -> None:
    asked = given("sft", checkpoint, tmp_path / "out", tmp_path / "working", **cut.CUT)
    figures, _ = cut.trained(cut.fit_cut, cut.with_bf16(asked), lambda *said: None)
    if figures["bf16"] != "true":
        pytest.skip("this processor does not compute in bf16")
    losses = [line["loss"] for line in recorded(tmp_path / "out") if "loss" in line]
    rounded = [loss for loss in losses if float(torch.tensor(loss).bfloat16()) == loss]
    assert len(rounded) < len(losses) / 2
    assert mean(losses[-5:]) < mean(losses[:5])
