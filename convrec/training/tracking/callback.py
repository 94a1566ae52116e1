"""The callback that reports a training to the trackers of `train.report_to`.

Trackers get what TRL logs, under its own names, and what convrec measures itself: times of the
parts of a step (`seconds_…`), and validation metrics (`eval_…`, as transformers calls them) with
some of the generated lists. Only the first process reports.

A run that resumes repeats the steps since its last save, with the same values. A tracker either
replaces the repeated steps or does not get them again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from convrec.config import Config, StageName
from convrec.training.checkpoint import CheckpointCallback
from convrec.training.metrics_log import MetricsLog
from convrec.training.tracking.guard import INTERRUPTED_SECONDS, START_SECONDS, Guard
from convrec.training.tracking.run import (
    FIGURE_PREFIX,
    RunIds,
    TrackedRun,
    TrackerState,
    installed_trackers,
    read_states,
    tracked_run,
    write_states,
)
from convrec.training.tracking.trackers import TRACKERS, Rows, Tracker
from convrec.utils.distributed import is_first

_VALIDATION, _EVAL = "validation_", "eval_"
_ADDED_PREFIXES = ("seconds_",)
_LOGGED_BY_TRAINER = {"validation_loss"}
_FORWARDED = ("on_evaluate", "on_save", "on_step_end")


class Tracking(TrainerCallback):
    """Reports a training; the `with` block ends when the training does.

    No tracker can stop the training: see `Guard`. Events before the training begins are reported
    once it does.
    """

    def __init__(self, run: TrackedRun, names: list[str], working_folder: Path) -> None:
        self.run = run
        self._folder = working_folder
        self._before = read_states(working_folder) if names else {}
        self._states = {name: TrackerState() for name in names}
        self._trackers: list[tuple[Tracker, Guard]] = []
        for name in names:
            self._states[name] = copy.deepcopy(self._before.get(name, TrackerState()))
            tracker = TRACKERS.get(name, Tracker)(name, run, self._states[name].run_id)
            self._trackers.append((tracker, Guard(name)))
        self._event: tuple[Any, Any, Any] | None = None
        self._context: dict[str, Any] = {}
        self._times: dict[str, float] = {}

    def attach(self, trainer: Any, metrics_log: MetricsLog) -> None:
        """Report what the trainer and the metrics log log.

        Call it before validation is added to the trainer, so that trackers start before it. Also
        removes the trackers that transformers adds by itself (Kubeflow).
        """
        for callback_class in INTEGRATION_TO_CALLBACK.values():
            trainer.pop_callback(callback_class)
        if self._trackers:
            checkpoints = trainer.pop_callback(CheckpointCallback)
            trainer.add_callback(self)
            if checkpoints is not None:  # a step must be reported before it is saved
                trainer.add_callback(checkpoints)
            metrics_log.listener = self

    def figures(self) -> dict[str, str]:
        """Where the training can be watched, as figures of its checkpoint."""
        return {
            f"{FIGURE_PREFIX}{name}": state.location
            for name, state in self._states.items()
            if state.location
        }

    # -- what transformers calls ---------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Start the trackers with the configuration among the arguments."""
        self._context = {"model": context.get("model")}
        self._event = (_reported_arguments(args, self.run), state, control)
        for tracker, guard in self._trackers:
            arguments = _reported_arguments(args, self.run)
            begin = (tracker.begin, arguments, copy.copy(state), control, self._context)
            if guard.call(*begin, seconds=START_SECONDS):
                self._states[tracker.name].run_id = tracker.run_id
                self._states[tracker.name].location = tracker.location
        write_states(self._folder, self._states)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report what the trainer logs, and the times of the step."""
        values = {name: value for name, value in (logs or {}).items() if value is not None}
        if "loss" not in values:  # validation, or the summary at the end: the epoch is reported
            values.pop("epoch", None)
        is_validation = any(name.startswith(_EVAL) for name in values)
        if not is_validation:
            values |= self._times
            self._times = {}
        self._log("eval" if is_validation else "train", state.global_step, values)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the runs."""
        if self._event is None:
            return
        for tracker, guard in self._trackers:
            guard.call(tracker.end, *self._event, self._context, seconds=START_SECONDS)
            guard.close()
        self._event = None

    def on_evaluate(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Pass the event to trackers that use it."""
        self._forward("on_evaluate", state, control, metrics=context.get("metrics"))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Pass the event to trackers that use it."""
        self._forward("on_save", state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Pass the event to trackers that use it."""
        self._forward("on_step_end", state, control)

    # -- what the metrics log calls ------------------------------------------------------------

    def add_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Report validation metrics at once, and the times of a step with its other metrics."""
        self._times |= {n: value for n, value in values.items() if n.startswith(_ADDED_PREFIXES)}
        validation = {
            _EVAL + name.removeprefix(_VALIDATION): value
            for name, value in values.items()
            if name.startswith(_VALIDATION) and name not in _LOGGED_BY_TRAINER
        }
        if validation:
            self._log("eval", step, validation)

    def add_samples(self, step: int, rows: Rows) -> None:
        """Report generated lists."""
        if rows:
            self._report("samples", step, lambda tracker: (tracker.log_samples, step, list(rows)))

    # -- the training's `with` block -----------------------------------------------------------

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._event is None:
            return
        is_failure = isinstance(error, Exception)
        status = "FAILED" if is_failure else "KILLED"
        for tracker, guard in self._trackers:
            seconds = 0.0 if is_failure else INTERRUPTED_SECONDS
            guard.call(tracker.abort, status, seconds=seconds)
            guard.close()

    def _log(self, channel: str, step: int, values: dict[str, Any]) -> None:
        if not values or self._event is None:
            return
        args, state, control = self._event
        at_step = copy.copy(state)
        at_step.global_step = step

        def log(tracker: Tracker) -> tuple[Any, ...]:
            return tracker.log, args, at_step, control, dict(values), self._context

        self._report(channel, step, log)

    def _report(self, channel: str, step: int, call: Any) -> None:
        """Call each tracker that has not had this step yet, and note the step."""
        is_changed = False
        for tracker, guard in self._trackers:
            before = self._before.get(tracker.name, TrackerState())
            if not tracker.purges and step <= before.reported.get(channel, -1):
                continue
            if guard.call(*call(tracker)):
                self._states[tracker.name].reported[channel] = step
                is_changed = True
        if is_changed:
            write_states(self._folder, self._states)

    def _forward(self, event: str, state: Any, control: Any, **extra: Any) -> None:
        if self._event is None:
            return
        for tracker, guard in self._trackers:
            used = getattr(type(tracker.callback), event) is not getattr(TrainerCallback, event)
            if used and not guard.failed:
                method = partial(getattr(tracker.callback, event), **self._context, **extra)
                guard.call(method, self._event[0], state, control)


def make_tracking(
    config: Config, stage: StageName, ids: RunIds, working_folder: Path, resumed_step: int
) -> Tracking:
    """The reports of a stage's training to the trackers of `train.report_to` that are installed."""
    names = list(config.train.report_to)
    if "all" in names:
        names = get_available_reporting_integrations()
    run = tracked_run(config, stage, ids, working_folder, resumed_step)
    return Tracking(run, installed_trackers(names) if is_first() else [], working_folder)


def _reported_arguments(args: Any, run: TrackedRun) -> Any:
    """The trainer's arguments, which trackers report, with the configuration and the tags added."""
    reported = copy.copy(args)
    reported.run_name = run.name
    values = {**args.to_dict(), "run_name": run.name, **run.parameters, **run.tags}
    reported.to_dict = lambda: dict(values)
    reported.to_json_string = lambda: json.dumps(values, indent=2, default=str)
    return reported
