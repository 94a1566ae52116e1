"""What TensorBoard reads back of real trainings, undisturbed and resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from convrec.config import ROOT
from tests.support.tracked_trainings import ARTIFACT, NAMES, train_tracked
from tests.support.trainings import logged_metrics

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    return accumulator.Reload()


def points(accumulator: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def texts(accumulator: EventAccumulator, tag: str) -> list[tuple[int, str]]:
    tensors = accumulator.Tensors(f"{tag}/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in tensors]


def curve(folder: Path, name: str) -> list[tuple[int, Any]]:
    lines = logged_metrics(folder)
    return [(line["step"], pytest.approx(line[name])) for line in lines if name in line]


def test_rank_grpo_reports_ranks_validation_times_and_lists(
    checkpoint: Path, tmp_path: Path
) -> None:
    figures = train_tracked("rank_grpo", ["tensorboard"], checkpoint, tmp_path)
    folder = tmp_path / "tracking" / "tensorboard" / NAMES["rank_grpo"]
    assert figures["tracking_tensorboard"] == f"tensorboard --logdir {folder}"
    out, read = tmp_path / "rank_grpo", events(folder)
    for ours, theirs in {
        "loss": "train/loss",
        "reward@rank1": "train/reward@rank1",
        "reward@rank3": "train/reward@rank3",
        "clip_share@rank1": "train/clip_share@rank1",
        "relevance/1-1": "train/relevance/1-1",
        "in_catalog": "train/in_catalog",
        "validation_ndcg@3": "eval/ndcg@3",
        "validation_recall@3": "eval/recall@3",
    }.items():
        assert len(curve(out, ours)) >= 4, ours
        assert points(read, theirs) == curve(out, ours), theirs
    assert [step for step, _ in points(read, "train/seconds_sampling")] == list(range(1, 9))
    assert [step for step, _ in points(read, "eval/ndcg@3")] == [0, 3, 6, 8]
    assert [step for step, _ in texts(read, "samples")] == [0, 3, 6, 8]
    assert "- Alien \\(1979\\)" in texts(read, "samples")[-1][1]
    ((_, settings),) = texts(read, "convrec")
    assert f"| convrec\\.artifact\\_id | {ARTIFACT.replace('-', chr(92) + '-')} |" in settings
    assert "| convrec\\.flow\\_run\\_id | run\\-1 |" in settings
    assert "| convrec\\.rank\\_grpo\\.steps | 8 |" in settings
    ((_, arguments),) = texts(read, "args")
    assert '"convrec.rank_grpo.steps": "8"' in arguments


def test_sft_reports_both_losses(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "elsewhere"))
    train_tracked("sft", ["tensorboard"], checkpoint, tmp_path)
    assert not (tmp_path / "tracking").exists()
    read = events(tmp_path / "elsewhere" / NAMES["sft"])
    assert points(read, "train/loss") == curve(tmp_path / "sft", "loss")
    assert points(read, "eval/loss") == curve(tmp_path / "sft", "validation_loss")
    assert "eval/validation_loss" not in read.Tags()["scalars"]


@pytest.mark.parametrize(
    ("stage", "kill"), [("rank_grpo", 5), pytest.param("sft", 12, marks=pytest.mark.slow)]
)
def test_no_step_is_doubled_by_a_run_that_resumes(
    checkpoint: Path, tmp_path: Path, stage: str, kill: int
) -> None:
    command = [sys.executable, "-m", "tests.support.tracked_trainings", stage, "tensorboard"]
    killed = subprocess.run(
        [*command, str(checkpoint), str(tmp_path), str(kill)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = tmp_path / "tracking" / "tensorboard" / NAMES[stage]
    assert points(events(folder), "train/loss")[-1][0] >= kill - 1
    time.sleep(1)  # TensorBoard reads a folder's files in the order of the seconds in their names

    resumed_from = train_tracked(stage, ["tensorboard"], checkpoint, tmp_path)["resumed_from_step"]
    assert 0 < int(resumed_from) < kill
    assert len(list(folder.iterdir())) == 2
    read = events(folder)
    assert points(read, "train/loss") == curve(tmp_path / stage, "loss")
    for tag in read.Tags()["scalars"]:
        steps = [step for step, _ in points(read, tag)]
        assert steps == sorted(set(steps)), tag
    for tag in ("convrec", "args", *(["samples"] if stage == "rank_grpo" else [])):
        steps = [step for step, _ in texts(read, tag)]
        assert steps == sorted(set(steps)), tag


def test_reports_change_no_weight(checkpoint: Path, tmp_path: Path) -> None:
    for name, trackers in {"with": ["tensorboard"], "without": []}.items():
        train_tracked("rank_grpo", trackers, checkpoint, tmp_path / name)
    with_reports, without = (
        (tmp_path / name / "rank_grpo" / "model.safetensors").read_bytes()
        for name in ("with", "without")
    )
    assert with_reports == without
    assert not (tmp_path / "without" / "tracking").exists()
