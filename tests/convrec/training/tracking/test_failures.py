"""A tracker that is missing, raises or hangs: the training goes on, with one warning."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback
from transformers.integrations import INTEGRATION_TO_CALLBACK

from convrec.config import load
from convrec.config.choices import TRACKERS
from convrec.errors import ConfigError
from convrec.training.tracking import guard, run
from convrec.training.tracking.guard import Guard
from convrec.utils.distributed import LAUNCHED
from tests.support.tracked_trainings import train_tracked

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def install(monkeypatch: pytest.MonkeyPatch, callback_class: type[TrainerCallback]) -> None:
    """Let transformers report to `callback_class` under the name of a tracker."""
    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "dvclive", callback_class)
    monkeypatch.setitem(run.PACKAGES, "dvclive", ("torch",))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "convrec"]


def test_the_names_are_those_of_transformers() -> None:
    assert set(TRACKERS.names) == {*INTEGRATION_TO_CALLBACK, "all", "none"}


def test_a_name_that_is_unknown_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.report_to=.*'tensorboard', 'mlflow'"):
        load("demo", {"train.report_to": ["tensorbord"]})
    assert load("demo", {"train.report_to": "mlflow,wandb"}).train.report_to == ("mlflow", "wandb")


def test_a_package_that_is_missing(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for stage in ("sft", "rank_grpo"):
        figures = train_tracked(stage, ["neptune", "none"], checkpoint, tmp_path)
        assert (tmp_path / stage / "model.safetensors").is_file()
        assert not [name for name in figures if name.startswith("tracking")]
    (warning,) = warnings(caplog)
    assert warning.startswith("train.report_to=neptune: the package neptune is not installed")


@pytest.mark.parametrize(
    "event",
    [
        "__init__",
        pytest.param("on_train_begin", marks=pytest.mark.slow),
        "on_log",
        pytest.param("on_train_end", marks=pytest.mark.slow),
    ],
)
def test_a_tracker_that_raises(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    event: str,
) -> None:
    calls = []

    def fail(*args: Any, **context: Any) -> None:
        calls.append(event)
        raise ConnectionError("no route to host\nand more")

    install(monkeypatch, type("Raises", (TrainerCallback,), {event: fail}))
    figures = train_tracked("sft", ["dvclive"], checkpoint, tmp_path)
    assert figures["steps"] == 20
    assert len(calls) == 1
    assert warnings(caplog) == [
        "train.report_to=dvclive: no route to host; the training goes on and is not reported to "
        "dvclive any more"
    ]


def test_a_tracker_that_hangs(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Hangs(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **context: Any) -> None:
            if state.global_step >= 3:
                time.sleep(600)

    install(monkeypatch, Hangs)
    monkeypatch.setattr(guard, "CALL_SECONDS", 0.2)
    figures = train_tracked("sft", ["dvclive"], checkpoint, tmp_path)
    assert figures["steps"] == 20
    (warning,) = warnings(caplog)
    assert "did not answer within 0.2 s" in warning


def test_any_tracker_gets_steps_and_the_configuration(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[int, list[str]]] = []
    arguments: dict[str, Any] = {}

    class Records(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
            arguments.update(args.to_dict())
            assert context["model"].config.vocab_size > 0

        def on_log(self, args: Any, state: Any, control: Any, logs: Any, **context: Any) -> None:
            logged.append((state.global_step, sorted(logs)))

    install(monkeypatch, Records)
    train_tracked("rank_grpo", ["dvclive"], checkpoint, tmp_path)
    assert arguments["run_name"] == "convrec-films-rank_grpo-01234567"
    assert arguments["convrec.stage"] == "rank_grpo"
    assert arguments["convrec.rank_grpo.group_size"] == "2"
    assert not [name for name in arguments if name.startswith("convrec.llm.base_url")]
    steps = [step for step, names in logged if "loss" in names]
    assert steps == list(range(1, 9))
    assert [step for step, names in logged if "eval_ndcg@3" in names] == [0, 3, 6, 8]


def test_only_the_first_process_reports(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unwanted(TrainerCallback):
        def __init__(self) -> None:
            raise AssertionError

    install(monkeypatch, Unwanted)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv(LAUNCHED, "1")
    monkeypatch.setattr("convrec.training.tracking.callback.Guard", Unwanted)
    from convrec.training.tracking.callback import make_tracking

    config = load("demo", {"train.report_to": ["dvclive"]})
    tracking = make_tracking(config, "sft", run.NO_IDS, tmp_path, 0)
    assert tracking.figures() == {}


def test_a_tracker_leaves_the_random_state() -> None:
    def draw() -> None:
        random.random()
        np.random.rand()
        torch.rand(1)

    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = (random.random(), float(np.random.rand()), float(torch.rand(1)))
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    tracker = Guard("any")
    assert tracker.call(draw)
    tracker.close()
    assert (random.random(), float(np.random.rand()), float(torch.rand(1))) == expected


def test_a_training_that_fails_ends_its_report_as_failed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convrec.training.tracking.trackers import Tracker

    ended: list[str] = []
    monkeypatch.setattr(Tracker, "abort", lambda self, status: ended.append(status))
    install(monkeypatch, type("Quiet", (TrainerCallback,), {}))

    def interrupt(step: int) -> None:
        if step == 3:
            raise KeyboardInterrupt

    def fail(step: int) -> None:
        raise ValueError("the progress bar broke")

    with pytest.raises(KeyboardInterrupt):
        train_tracked("sft", ["dvclive"], checkpoint, tmp_path, interrupt)
    with pytest.raises(ValueError, match="broke"):
        train_tracked("sft", ["dvclive"], checkpoint, tmp_path / "other", fail)
    assert ended == ["KILLED", "FAILED"]


def test_a_kubeflow_job_is_not_reported_unasked(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", url)
        (tmp_path / "token").write_text("secret", encoding="utf-8")
        monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(tmp_path / "token"))
        train_tracked("sft", [], checkpoint, tmp_path)
        with pytest.raises(BlockingIOError):
            server.accept()
