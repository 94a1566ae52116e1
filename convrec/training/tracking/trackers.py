"""The integrations of transformers, and what a run of convrec adds to some of them.

Each tracker is transformers' callback, which reports metrics and arguments as in any other
training. The classes here choose where it writes if its environment variables do not, attach it to
its run again after a crash, and add tags and sampled lists.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from transformers import TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

from convrec.training.tracking.run import TrackedRun
from convrec.utils.markdown import escape, escaped_table

Rows = Sequence[Mapping[str, Any]]
"""Lists that the model generated, with their scores."""

PROJECT = "convrec"
"""Project or experiment of the runs, unless an environment variable names another."""

_MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; otherwise MLflow waits for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a folder as MLFLOW_TRACKING_URI
}


class Tracker:
    """One tracker. All its methods are called in one thread (`Guard`).

    Attributes:
        purges: Whether steps that are reported again replace those of a killed process.
        run_id: The tracker's own id of the run, with which a later process continues it.
        location: URL of the run, or the command that shows it; empty if unknown.
    """

    purges = False

    def __init__(self, name: str, run: TrackedRun, run_id: str = "") -> None:
        self.name = name
        self.run = run
        self.run_id = run_id
        self.location = ""
        self.callback = TrainerCallback()

    def begin(self, args: Any, state: Any, control: Any, context: dict[str, Any]) -> None:
        """Import the tracker's package and create the run, or continue it."""
        (callback_class,) = get_reporting_integration_callbacks([self.name])
        self.callback = callback_class()
        self.callback.on_init_end(args, state, control, **context)
        self.callback.on_train_begin(args, state, control, **context)

    def log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], context: dict[str, Any]
    ) -> None:
        """Report metrics of the step of `state`."""
        self.callback.on_log(args, state, control, logs=logs, **context)

    def log_samples(self, step: int, rows: Rows) -> None:
        """Report generated lists."""

    def end(self, args: Any, state: Any, control: Any, context: dict[str, Any]) -> None:
        """End the run of a training that is done."""
        self.callback.on_train_end(args, state, control, **context)

    def abort(self, status: str) -> None:
        """End the run of a training that stopped with an error; `status` is FAILED or KILLED."""


class TensorBoard(Tracker):
    """Writes to a folder for each run. Steps that a killed process reported are replaced."""

    purges = True

    def begin(self, args: Any, state: Any, control: Any, context: dict[str, Any]) -> None:
        """Start the run, or continue it; see `Tracker`."""
        parent = os.environ.get("TENSORBOARD_LOGGING_DIR") or self.run.folder / "tensorboard"
        folder = Path(parent).expanduser().absolute() / self.run.name
        self.location = f"tensorboard --logdir {shlex.quote(str(folder))}"
        (callback_class,) = get_reporting_integration_callbacks([self.name])
        self.callback = callback_class()
        step = self.run.resumed_step
        purge_step = None if not folder.is_dir() else step + 1 if step else 0
        self._writer = self.callback._SummaryWriter(str(folder), purge_step=purge_step)
        self.callback.tb_writer = self._writer
        if step == 0:
            settings = {**self.run.tags, **self.run.parameters}
            table = escaped_table(["setting", "value"], settings.items(), max_length=500)
            self._writer.add_text("convrec", table)
            self.callback.on_train_begin(args, state, control, **context)
        self._writer.flush()

    def log_samples(self, step: int, rows: Rows) -> None:
        """Report generated lists."""
        self._writer.add_text("samples", samples_markdown(rows), step)
        self._writer.flush()

    def abort(self, status: str) -> None:
        """End the run of a training that stopped with an error."""
        self._writer.close()


class MLflow(Tracker):
    """Reports to MLFLOW_TRACKING_URI, by default a SQLite file in the trackers' folder."""

    def begin(self, args: Any, state: Any, control: Any, context: dict[str, Any]) -> None:
        """Start the run, or continue it; see `Tracker`."""
        is_local = "MLFLOW_TRACKING_URI" not in os.environ
        self.run.folder.mkdir(parents=True, exist_ok=True)
        defaults = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.run.folder.absolute() / 'mlflow.db'}",
            "MLFLOW_EXPERIMENT_NAME": PROJECT,
        }
        for name, value in _MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)
        attached = {"MLFLOW_RUN_ID": self.run_id} if self.run_id else {}
        with _default_environment({**defaults, **attached}):
            import mlflow

            self._mlflow = mlflow
            mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
            experiment = os.environ["MLFLOW_EXPERIMENT_NAME"]
            if is_local and mlflow.get_experiment_by_name(experiment) is None:
                artifacts = (self.run.folder.absolute() / "mlartifacts").as_uri()
                mlflow.create_experiment(experiment, artifact_location=artifacts)
            if attached:  # its parameters are recorded and may not change
                args.to_dict = dict
                context = {**context, "model": None}
            super().begin(args, state, control, context)
        mlflow.set_tags(dict(self.run.tags))
        info = mlflow.active_run().info
        self.run_id = info.run_id
        uri = mlflow.get_tracking_uri()
        if uri.startswith(("http://", "https://")):
            path = f"#/experiments/{info.experiment_id}/runs/{info.run_id}"
            self.location = f"{uri.rstrip('/')}/{path}"
        else:
            self.location = f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
        self._mlflow.flush_async_logging()

    def log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], context: dict[str, Any]
    ) -> None:
        """Report metrics of a step."""
        super().log(args, state, control, logs, context)
        self._mlflow.flush_async_logging()  # transformers logs in the background

    def log_samples(self, step: int, rows: Rows) -> None:
        """Report generated lists."""
        self._mlflow.log_text(samples_markdown(rows), f"samples/step-{step:06d}.md")

    def abort(self, status: str) -> None:
        """End the run of a training that stopped with an error."""
        self._mlflow.end_run(status)


class Wandb(Tracker):
    """Reports to the project WANDB_PROJECT, by default convrec."""

    def begin(self, args: Any, state: Any, control: Any, context: dict[str, Any]) -> None:
        """Start the run, or continue it; see `Tracker`."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        defaults = {"WANDB_PROJECT": PROJECT, "WANDB_DIR": str(self.run.folder.absolute())}
        defaults["WANDB_CONSOLE"] = "off"  # the terminal's output is no report
        # W&B would draw the id from the training's seed, the same for every run.
        run_id = self.run_id or secrets.token_hex(6)
        defaults |= {"WANDB_RUN_ID": run_id, "WANDB_RESUME": "allow"}
        with _default_environment(defaults):
            import wandb

            self._wandb = wandb
            if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
                raise RuntimeError("run `wandb login`, or set WANDB_API_KEY or WANDB_MODE=offline")
            super().begin(args, state, control, context)
        current = wandb.run
        current.tags = (*(current.tags or ()), "convrec", self.run.tags["convrec.stage"])
        self.run_id = current.id
        runs = shlex.quote(str(Path(current.dir).parents[1]))  # one folder for each process
        self.location = current.url or f"wandb sync {runs}/offline-run-*-{current.id}"

    def log_samples(self, step: int, rows: Rows) -> None:
        """Report generated lists."""
        columns = list(rows[0])
        table = self._wandb.Table(columns, [[row[name] for name in columns] for row in rows])
        self._wandb.log({"samples": table, "train/global_step": step})

    def end(self, args: Any, state: Any, control: Any, context: dict[str, Any]) -> None:
        """End the run of a training that is done."""
        super().end(args, state, control, context)
        self._wandb.finish()  # or the next training of this process would continue this run

    def abort(self, status: str) -> None:
        """End the run of a training that stopped with an error."""
        self._wandb.finish(exit_code=1)


class Trackio(Tracker):
    """Reports to the local database of Trackio; to a Space only if TRACKIO_SPACE_ID names one."""

    def begin(self, args: Any, state: Any, control: Any, context: dict[str, Any]) -> None:
        """Start the run, or continue it; see `Tracker`."""
        args.project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        args.trackio_space_id = os.environ.get("TRACKIO_SPACE_ID")
        args.trackio_static_space_id = False
        super().begin(args, state, control, context)
        space = args.trackio_space_id
        project = shlex.quote(args.project)
        self.location = (
            f"https://huggingface.co/spaces/{space}"
            if space
            else f"trackio show --project {project}"
        )

    def log_samples(self, step: int, rows: Rows) -> None:
        """Report generated lists."""
        import trackio

        frame = pl.DataFrame([dict(row) for row in rows]).to_pandas()
        table = trackio.Table(dataframe=frame)
        trackio.log({"samples": table, "train/global_step": step})

    def abort(self, status: str) -> None:
        """End the run of a training that stopped with an error."""
        import trackio

        trackio.finish()


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": Wandb,
    "trackio": Trackio,
}
"""Trackers that get more than what transformers reports."""


def samples_markdown(rows: Rows) -> str:
    """Generated lists as markdown: a heading with the scores, and a line for each item."""
    parts = []
    for row in rows:
        scores = [
            f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {escape(value)}"
            for name, value in row.items()
            if name not in ("context_id", "completion")
        ]
        heading = ", ".join([escape(row.get("context_id", "")), *scores])
        lines = [f"- {escape(line)}" for line in str(row.get("completion", "")).splitlines()]
        parts.append("\n".join([f"**{heading}**", "", *lines]))
    return "\n\n".join(parts)


@contextmanager
def _default_environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set the variables that are not set, for the length of the block."""
    missing = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
