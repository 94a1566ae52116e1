"""Trainings reported to MLflow, W&B (offline) and Trackio; each needs its extra of convrec.

A training is killed and resumed, so each test also shows that no step is reported twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convrec.config import ROOT
from tests.support.film_student import checkpoint
from tests.support.tracked_trainings import ARTIFACT, NAMES

__all__ = ["checkpoint"]

pytestmark = pytest.mark.slow

VALIDATED = [0, 3, 6, 8]


def kill_and_resume(tracker: str, checkpoint: Path, home: Path, **environment: str) -> str:
    """Train in two processes, of which the first is killed at step 5; the printed text."""
    pytest.importorskip(tracker)
    command = [sys.executable, "-m", "tests.support.tracked_trainings", "rank_grpo", tracker]
    output = ""
    for last, status in ((5, -signal.SIGKILL), (0, 0)):
        ended = subprocess.run(
            [*command, str(checkpoint), str(home), str(last)],
            cwd=ROOT,
            env={**os.environ, "HOME": str(home), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == status, ended.stderr
        output += ended.stdout + ended.stderr
    assert "train.report_to=" not in output
    return output


@pytest.mark.parametrize("kind", ["default", "folder"])
def test_mlflow(checkpoint: Path, tmp_path: Path, kind: str) -> None:
    uri = f"sqlite:///{tmp_path}/tracking/mlflow.db"
    environment = {}
    if kind == "folder":
        uri = environment["MLFLOW_TRACKING_URI"] = (tmp_path / "runs").as_uri()
    kill_and_resume("mlflow", checkpoint, tmp_path, **environment)

    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("convrec")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (NAMES["rank_grpo"], "FINISHED")
    assert run.data.tags["convrec.artifact_id"] == ARTIFACT
    assert run.data.tags["convrec.flow_run_id"] == "run-1"
    assert run.data.params["convrec.rank_grpo.steps"] == "8"
    steps = {
        name: [point.step for point in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert steps["loss"] == steps["reward_rank1"] == steps["seconds_sampling"] == [*range(1, 9)]
    assert steps["eval_ndcg_3"] == VALIDATED
    assert all(found == sorted(set(found)) for found in steps.values())
    samples = [file.path for file in client.list_artifacts(run.info.run_id, "samples")]
    assert samples == [f"samples/step-{step:06d}.md" for step in VALIDATED]


def test_wandb_offline(checkpoint: Path, tmp_path: Path) -> None:
    kill_and_resume("wandb", checkpoint, tmp_path, WANDB_MODE="offline")
    runs = sorted((tmp_path / "tracking" / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    assert len({run.name.rpartition("-")[2] for run in runs}) == 1  # one run of W&B
    tables = [path for run in runs for path in run.glob("files/media/table/samples_*")]
    assert len(tables) == len(VALIDATED)


def test_trackio(checkpoint: Path, tmp_path: Path) -> None:
    output = kill_and_resume("trackio", checkpoint, tmp_path, TRACKIO_DIR=str(tmp_path / "trackio"))
    assert f"Resumed existing run: {NAMES['rank_grpo']}" in output
    assert (tmp_path / "trackio" / "convrec.db").is_file()
