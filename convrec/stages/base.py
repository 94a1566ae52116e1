"""A step: how one kind of artifact is named and built.

Flows, `convrec plan` and tests share the same steps. A step is data: functions of a `StepContext`
and, where it reads LLM responses, a `ResponseSource`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from convrec.artifacts.identity import ArtifactRef, ArtifactSpec
from convrec.artifacts.step_result import StepResult
from convrec.artifacts.store import Store
from convrec.config import Config, StageName
from convrec.llm.answer import Answer
from convrec.llm.answer_check import Defect
from convrec.llm.read import NO_RESPONSE, stored_answers
from convrec.llm.requests import Request
from convrec.training.tracking.run import RunIds
from convrec.utils.progress import Progress, no_progress

ANSWERS_USABLE = "answers usable"
"""Figure of an artifact that is read from answers, such as `13 of 14`."""


class Partition(Protocol):
    """A part of a step's rows that any process can build on its own."""

    def make(self, ctx: StepContext) -> None:
        """Write its rows to its file, unless the file exists."""


def build_here(ctx: StepContext, partitions: Sequence[Partition]) -> None:
    """Build the partitions in this process, one after the other."""
    for partition in partitions:
        partition.make(ctx)


@dataclass(frozen=True)
class StepContext:
    """What a step reads: the configuration, the warehouse and its parents.

    Attributes:
        parents: Role → reference of a stored artifact.
        frames: Role → rows of a parent that is not stored (`convrec plan` computes some in memory).
        progress: Callback `progress(done, total, text)`.
        scratch: An empty folder for a step that makes files. It becomes the artifact's folder when
            the artifact is committed.
        workspace: A folder of this artifact whose content survives a crash until the artifact is
            committed. The step creates it when needed.
        spread: Builds partitions, in this process or on a cluster.
        rebuild: Do not reuse rows of an earlier artifact.
        artifact_id: The artifact that the step makes, if a run makes it.
        flow_run_id: The flow run that makes it.
    """

    config: Config
    store: Store
    parents: Mapping[str, ArtifactRef] = field(default_factory=dict)
    progress: Progress = no_progress
    scratch: Path | None = None
    workspace: Path | None = None
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    spread: Callable[[StepContext, Sequence[Partition]], None] = build_here
    rebuild: bool = False
    artifact_id: str = ""
    flow_run_id: str = ""

    @property
    def run_ids(self) -> RunIds:
        """How trackers name a training of this step, and their folder in the warehouse's."""
        folder = str(self.store.home / "tracking")
        return RunIds(self.artifact_id, self.flow_run_id, folder)

    def has(self, role: str) -> bool:
        """Whether this parent exists; a run may skip it."""
        return role in self.parents or role in self.frames

    def frame(self, role: str, *columns: str) -> pl.DataFrame:
        """The rows of a parent, in order: all columns, or those named."""
        if role in self.frames:
            frame = self.frames[role]
            return frame.select(columns) if columns else frame
        return self.store.read(self.parents[role].artifact_id, *columns)

    def rows(self, role: str, start: int, stop: int, *columns: str) -> pl.DataFrame:
        """Rows `start` to `stop` (exclusive) of a parent, with their number in column `row`."""
        if role in self.frames:
            numbered = self.frames[role].select(columns).with_row_index("row")
            return numbered.slice(start, stop - start).cast({"row": pl.Int64})
        condition = f'AND "row" >= {start} AND "row" < {stop}'
        return self.store.read_ordered(self.parents[role].artifact_id, columns, condition)


@dataclass(frozen=True)
class AnswerQuality:
    """How many answers are stored, and which of them cannot be used: request key → reason."""

    answers: int = 0
    unusable: Mapping[str, str] = field(default_factory=dict)


def stored_quality(
    requests: Iterable[Request], store: Store, read: Callable[[Answer], tuple[object, str]]
) -> AnswerQuality:
    """The quality of the stored answers to requests.

    `read` gives what an answer says, and the reason if it cannot be used, else an empty text.
    """
    answers = 0
    unusable: dict[str, str] = {}
    for request, answer in stored_answers(requests, store):
        if answer.reason != NO_RESPONSE:
            answers += 1
            _, reason = read(answer)
            if reason:
                unusable[request.key] = reason
    return AnswerQuality(answers, unusable)


class ResponseSource(ABC):
    """The LLM responses that a step reads.

    A subclass implements `requests`. The other methods matter to steps that reuse responses in
    units smaller than a request, such as rated pairs or embedded texts: their `requests` ask only
    for units that are missing.
    """

    def needed(self, config: Config) -> bool:
        """Whether a configuration needs responses at all."""
        return True

    @abstractmethod
    def requests(self, ctx: StepContext) -> Collection[Request]:
        """The requests whose stored responses the step reads."""

    def repairs(self, ctx: StepContext) -> Collection[Request]:
        """Follow-up requests for stored responses that cannot be used."""
        return ()

    def state(self, ctx: StepContext) -> str:
        """A quick digest of all stored data that `Step.inputs` and `requests` may read.

        Empty where there is none; then the requests themselves are looked up.
        """
        return ""

    def index_stored(self, ctx: StepContext) -> None:  # noqa: B027 - optional
        """Index the units in responses that earlier runs stored without indexing them."""

    def open_batch_requests(self, ctx: StepContext) -> Collection[Request]:
        """Requests in open batches that ask for missing units in other groups or words."""
        return ()

    def record(self, ctx: StepContext) -> None:  # noqa: B027 - optional
        """Index the units of the responses to `requests`."""

    def answered_count(self, ctx: StepContext) -> int:
        """How many requests the units already indexed stand for."""
        return 0

    def quality(self, ctx: StepContext) -> AnswerQuality | None:
        """The quality of the stored answers, with repairs; None if any answer can be used."""
        return None

    def find_defect(
        self, ctx: StepContext, request: Request, response: Mapping[str, Any]
    ) -> Defect | None:
        """Why a response to one of `requests` cannot be used; None if it can."""
        return None


def _no_inputs(ctx: StepContext) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Step:
    """One kind of artifact of one stage.

    Attributes:
        version: Raise it whenever the same inputs would give other rows.
        build: Makes the rows.
        config: Picks the configuration keys that can change the rows.
        inputs: Names data from outside the warehouse's artifacts by digest.
        responses: The LLM responses that the step reads, if any.
        folder: Whether the artifact is a folder of files.
    """

    stage: StageName
    kind: str
    version: int
    build: Callable[[StepContext], StepResult]
    config: Callable[[Config], dict[str, Any]]
    inputs: Callable[[StepContext], dict[str, str]] = _no_inputs
    responses: ResponseSource | None = None
    folder: bool = False

    def needs_responses(self, config: Config) -> bool:
        """Whether responses must be stored before the artifact has a name."""
        return self.responses is not None and self.responses.needed(config)

    def spec(self, ctx: StepContext) -> ArtifactSpec:
        """The identity of what `build(ctx)` would make."""
        return ArtifactSpec(
            kind=self.kind,
            stage=self.stage,
            version=self.version,
            config=self.config(ctx.config),
            parents={role: ref.artifact_id for role, ref in ctx.parents.items()},
            inputs=self.inputs(ctx),
        )
