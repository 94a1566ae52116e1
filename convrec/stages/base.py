"""A step: how one kind of artifact is named and built. Flows, `plan` and tests share it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from convrec.artifacts.identity import ArtifactRef, ArtifactSpec
from convrec.artifacts.step_result import StepResult
from convrec.utils.progress import Progress, silent

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts.store import Store
    from convrec.config import Config, StageName
    from convrec.llm.requests import Request


class Partition(Protocol):
    """A part of a step's rows that can be made by itself, in any process."""

    def make(self, ctx: StepContext) -> None:
        """Write its rows to its file, unless they are there."""


def _here(ctx: StepContext, pieces: Sequence[Partition]) -> None:
    """Make the partitions in this process, one after the other."""
    for piece in pieces:
        piece.make(ctx)


@dataclass(frozen=True)
class StepContext:
    """What a step sees: the configuration, the warehouse, and its parents.

    `parents` maps a role to the reference of an artifact. `progress(done, total, text)` may be
    called as often as wanted. `scratch` is a fresh folder for a step that makes files: it becomes
    the artifact's folder when the artifact is committed. `workspace` is a folder of this artifact
    (made by the step that wants it) where work survives a crash until the artifact is committed.
    `spread` has the partitions of a step made, here or elsewhere. `afresh` forbids to take rows of
    an earlier artifact.
    """

    config: Config
    store: Store
    parents: Mapping[str, ArtifactRef] = field(default_factory=dict)
    progress: Progress = silent
    scratch: Path | None = None
    workspace: Path | None = None
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    spread: Callable[[StepContext, Sequence[Partition]], None] = _here
    afresh: bool = False

    def has(self, role: str) -> bool:
        """Whether this parent is there; one that the run skips is not."""
        return role in self.parents or role in self.frames

    def frame(self, role: str, *columns: str) -> pl.DataFrame:
        """The rows of a parent, in order: all columns, or those named.

        `frames` may hold some that are not stored (plan).
        """
        if role in self.frames:
            frame = self.frames[role]
            return frame.select(columns) if columns else frame
        return self.store.read(self.parents[role].artifact_id, *columns)

    def rows(self, role: str, start: int, stop: int, *columns: str) -> pl.DataFrame:
        """The rows of a parent from one number up to another, with `row`, their number."""
        import polars as pl

        if role in self.frames:
            numbered = self.frames[role].select(columns).with_row_index("row")
            return numbered.slice(start, stop - start).cast({"row": pl.Int64})
        condition = f'AND "row" >= {start} AND "row" < {stop}'
        return self.store.numbered(self.parents[role].artifact_id, columns, condition)


def _nothing(ctx: StepContext) -> dict[str, str]:
    """No data from outside."""
    return {}


def _always(config: Config) -> bool:
    """Whatever the configuration."""
    return True


@dataclass(frozen=True)
class Step:
    """One kind of artifact of one stage.

    `config` picks what can change the rows, `inputs` names data from outside by digest, `requests`
    lists the LLM requests whose stored answers the step reads, `repairs` those that follow from
    answers which cannot be used, `build` makes the rows. `state` is a digest of all stored data
    that `inputs` and `requests` may read, quicker than both; empty means: ask them. A step whose
    answers are kept by something smaller than a request (pairs, texts) asks in `requests` only for
    what is lacking; its `settle` notes what has been answered, `recall` what earlier runs had
    answered and did not note, `ordered` gives the requests in open batches that ask for what is
    lacking in other words, and `known` counts the requests that answered the rest. `asked` tells
    whether a configuration needs answers at all. Raise `version` whenever the same inputs would
    give other rows.
    """

    stage: StageName
    kind: str
    version: int
    build: Callable[[StepContext], StepResult]
    config: Callable[[Config], dict[str, Any]]
    inputs: Callable[[StepContext], dict[str, str]] = _nothing
    state: Callable[[StepContext], str] | None = None
    requests: Callable[[StepContext], Collection[Request]] | None = None
    repairs: Callable[[StepContext], Collection[Request]] | None = None
    recall: Callable[[StepContext], None] | None = None
    ordered: Callable[[StepContext], Collection[Request]] | None = None
    settle: Callable[[StepContext], None] | None = None
    known: Callable[[StepContext], int] | None = None
    asked: Callable[[Config], bool] = _always
    folder: bool = False

    def asks(self, config: Config) -> bool:
        """Whether answers are to be got before the artifact can be named."""
        return self.requests is not None and self.asked(config)

    def spec(self, ctx: StepContext) -> ArtifactSpec:
        """The identity of what `build(job)` would make."""
        return ArtifactSpec(
            kind=self.kind,
            stage=self.stage,
            version=self.version,
            config=self.config(ctx.config),
            parents={role: ref.artifact_id for role, ref in ctx.parents.items()},
            inputs=self.inputs(ctx),
        )
