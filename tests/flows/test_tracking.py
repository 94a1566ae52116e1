"""A run that reports its trainings links to the tracker, while it trains and afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import load
from convrec.pipeline.graph import NODES
from flows.pipeline import pipeline
from tasks import node_tasks
from tasks.tracking import tracking_markdown
from tests.support.prefect_artifacts import artifacts_by_key, artifacts_of_task


def test_the_run_page_names_the_folder(
    home: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    monkeypatch.setattr(node_tasks, "SHOW_EVERY", 0.5)
    overrides = {**small, "train.report_to": "tensorboard"}
    summary = pipeline(profile="demo", overrides=overrides, until="sft")
    (artifact_id,) = (
        e["artifact_id"]
        for e in summary["stages"]
        if e["kind"] == "checkpoint" and e["artifact_id"]
    )
    header = Store(home).header(artifact_id)
    command = str(header.figures["tracking_tensorboard"])
    folder = Path(command.removeprefix("tensorboard --logdir "))
    assert folder.parent == home.resolve() / "tracking" / "tensorboard"
    assert folder.name == f"convrec-demo-sft-{artifact_id.rpartition('-')[2][:8]}"
    assert any(folder.iterdir())

    artifacts = artifacts_by_key(summary["flow_run_id"])
    tracking = artifacts["tracking-checkpoint-sft"]
    assert command in str(tracking.data)
    assert str(tracking.id) in str(artifacts["summary"].data)
    figures = artifacts_of_task(header.producer.task_run_id)["checkpoint-sft"]
    assert command in str(figures.data)
    assert tracking.created < figures.created


def test_trackers_are_in_no_id() -> None:
    config = load("demo", {"train.report_to": "tensorboard"})
    for node in NODES.values():
        assert node.step.config(config) == node.step.config(load("demo")), node.name


def test_only_web_addresses_are_links() -> None:
    shown = tracking_markdown({"mlflow": "https://mlflow/#/runs/1", "tensorboard": "command `x`"})
    assert "<https://mlflow/#/runs/1>" in shown
    assert "```\ncommand `x`\n```" in shown
