"""The nodes that read LLM responses, without sending requests: import responses, parse them again.

Both resolve the pipeline up to the judge. Stored artifacts are used as they are; the others are
built in memory from the responses at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from convrec.artifacts import StepResult, Store
from convrec.config import STAGES, Config
from convrec.errors import InputError
from convrec.llm.batch import BatchStore
from convrec.llm.import_responses import ImportResult, import_batch_output
from convrec.pipeline.graph import Node
from convrec.pipeline.node_state import Resolver
from convrec.stages.base import ResponseSource, StepContext

RESPONSE_STAGES = STAGES[: STAGES.index("adjust")]


def response_nodes(
    config: Config, store: Store
) -> Iterator[tuple[Node, ResponseSource, StepContext]]:
    """Each node that reads responses, with a context in which it can be built now.

    Ends after the teacher's node if no teacher list is stored.
    """
    resolver = Resolver(config, store)
    for node in resolver.nodes(RESPONSE_STAGES):
        resolved = resolver.resolve(node)
        source = node.step.responses
        if source is not None and source.needed(config):
            source.index_stored(resolved.ctx)
            yield node, source, resolved.ctx
            source.record(resolved.ctx)
        ref = resolver.take(resolved)
        if ref.kind == "teacher_lists" and not ref.rows:
            return


# -- import ------------------------------------------------------------------------------------


def import_file(file: Path, config: Config | None, stage: str, store: Store) -> list[ImportResult]:
    """Store the responses of a Batch output file; one summary for each node that they belong to.

    Without a configuration only the requests of open batches are known. Raises InputError if the
    file is not Batch output or no line answers a known request.
    """
    if config is None:
        imported = [import_batch_output(file, BatchStore(store).open_requests(), store)]
    else:
        imported = []
        for node, source, ctx in response_nodes(config, store):
            if stage in ("", node.stage):
                # A line that names only a conversation is the teacher's, unless --stage is given.
                by_owner = node.stage in ("recommend", stage)
                imported.append(
                    import_batch_output(
                        file,
                        source.requests(ctx),
                        store,
                        by_owner=by_owner,
                        find_defect=partial(source.find_defect, ctx),
                    )
                )
    if not any(one.matched for one in imported):
        raise InputError(
            f"no line of {file} names a request of ours: `custom_id` must be a request key of an "
            "open batch, or with --profile the id of one of that profile's conversations"
        )
    return imported


# -- reparse -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reparsed:
    """The outcome of parsing the stored responses of a stage again.

    Attributes:
        state: `same`; `new`, stored under a new id; or `unversioned`, other rows under the same id
            because the parser changed and the step's version did not.
        changed: Contexts whose rows differ from the newest earlier artifact of the kind with the
            same parents.
    """

    stage: str
    kind: str
    artifact_id: str
    state: str
    contexts: int
    failed: int
    changed: int


def reparse_responses(config: Config, store: Store) -> list[Reparsed]:
    """Parse the stored responses of each stage again and store what is new. Sends nothing.

    Raises InputError if no response can be parsed as a list.
    """
    reparsed = [_reparse(node, source, ctx) for node, source, ctx in response_nodes(config, store)]
    if not any(one.contexts for one in reparsed):
        raise InputError(
            f"no answer of the teacher is stored for profile {config.profile}; `convrec run "
            f"{config.profile} --until recommend` asks for them, `convrec llm import` takes a file"
        )
    return reparsed


def _reparse(node: Node, source: ResponseSource, ctx: StepContext) -> Reparsed:
    store, step = ctx.store, node.step
    source.record(ctx)
    result, spec = step.build(ctx), step.spec(ctx)
    stored = store.find(spec.artifact_id)
    earlier = spec.artifact_id if stored else _newest_sibling(node, ctx)
    changed = _count_changed(result, store.read(earlier)) if earlier else 0
    state = "same" if stored and not changed else "unversioned" if stored else "new"
    if state == "new" and all(store.find(ref.artifact_id) for ref in ctx.parents.values()):
        store.put(spec, result)
    failed = result.failures.height if result.failures is not None else 0
    contexts = result.rows.select(_unit(result.rows)).n_unique()
    return Reparsed(node.stage, step.kind, spec.artifact_id, state, contexts, failed, changed)


def _newest_sibling(node: Node, ctx: StepContext) -> str:
    """The newest artifact of this kind with the same parents; empty if there is none."""
    parents = {role: ref.artifact_id for role, ref in ctx.parents.items()}
    records = [one for one in ctx.store.headers(node.step.kind) if one.parents == parents]
    return records[-1].ref.artifact_id if records else ""


def _unit(rows: pl.DataFrame) -> list[str]:
    """The columns that say what a response is about: a context, or the item it describes."""
    return ["context_id"] if "context_id" in rows.columns else ["title", "year"]


def _count_changed(result: StepResult, before: pl.DataFrame) -> int:
    """Contexts, or described items, whose rows differ on either side."""
    columns, unit = before.columns, _unit(before)
    new_rows, old_rows = result.rows.select(columns).hash_rows(), before.hash_rows()
    new, old = (
        frame.select(unit).with_columns(row=rows).group_by(unit, maintain_order=True).agg("row")
        for frame, rows in ((result.rows, new_rows), (before, old_rows))
    )
    both = new.join(old, on=unit, how="full", suffix="_old", coalesce=True, nulls_equal=True)
    return both.filter(both["row"].ne_missing(both["row_old"])).height
