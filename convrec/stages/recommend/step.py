"""The step of recommend: the teacher's zero-shot ranked list for every context.

The prompt does not depend on the catalog, so that a catalog edit does not query the teacher again.
Each context is asked once, however many users answered it. Paper: data construction, step 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.identity import canonical_json
from convrec.config import Config
from convrec.llm.answer import read_answer
from convrec.llm.answer_check import Defect, ending_advice
from convrec.llm.endpoint import endpoint_name
from convrec.llm.model_settings import chat_limits, model_settings
from convrec.llm.read import NO_RESPONSE, responses_state, stored_answers, table_version
from convrec.llm.requests import LazyRequests, Request
from convrec.stages.base import (
    ANSWERS_USABLE,
    AnswerQuality,
    ResponseSource,
    Step,
    StepContext,
    stored_quality,
)
from convrec.stages.contexts import (
    conversation_contexts,
    read_texts,
    text_slices,
)
from convrec.stages.partitions import (
    CHUNK,
    NotedRows,
    SharedTables,
    build_partitions,
    read_notes,
)
from convrec.stages.recommend.neighbours import (
    build_neighbour_lists,
    list_figures,
    neighbour_settings,
)
from convrec.stages.recommend.older_reading import answers_identity
from convrec.stages.recommend.parse import ParsedList, read_list
from convrec.utils.latest_value import LatestValue

NO_LIST = (
    "recommend got no list for any of {} conversations. Change recommend.model, "
    "recommend.max_tokens or the prompt in domain.teacher, or the file in recommend.replay"
)
"""Why a run ends with this stage."""

_READ_BY = {"recommend", "domain", "list_length", "llm"}
"""Settings that requests and the reading of answers depend on."""

_LATEST_QUALITY: LatestValue[AnswerQuality] = LatestValue()
"""A run asks before and after it sends requests, often none."""

_NOTES = {"context_id": pl.String, "reason": pl.String, "final": pl.Boolean, "cut": pl.Boolean}
"""Columns of the notes of a partition."""


def teacher_messages(conversation: str, config: Config) -> list[dict[str, str]]:
    """The chat messages that ask for one ranked list."""
    instructions = config.domain.teacher.format(
        n=config.list_length,
        noun=config.domain.noun,
        plural=config.domain.plural_noun,
        form=config.llm_line_format.example,
    )
    return [
        {"role": "system", "content": instructions},
        {"role": "user", "content": f"<conversation>\n{conversation}\n</conversation>"},
    ]


def teacher_requests(ctx: StepContext) -> LazyRequests:
    """The request of each context, in order."""
    contexts = conversation_contexts(ctx)

    def make_requests() -> Iterator[Request]:
        for conversations in text_slices(ctx, contexts):
            yield from _requests_of(conversations, ctx.config)

    return LazyRequests(make_requests, contexts.height)


def _requests_of(conversations: pl.DataFrame, config: Config) -> Iterator[Request]:
    """The requests for some conversations (context_id, conversation)."""
    teacher = config.recommend
    limits = chat_limits(
        config, teacher.model, "recommend.max_tokens", teacher.max_tokens, teacher.temperature
    )
    extra = model_settings(config, teacher.model).extra
    endpoint = endpoint_name(config)
    for context_id, conversation in conversations.iter_rows():
        messages = teacher_messages(conversation, config)
        body = {"model": teacher.model, **limits, "messages": messages, **extra}
        yield Request(context_id, endpoint, body)


def _build(ctx: StepContext) -> StepResult:
    if _has_no_teacher(ctx.config):
        return build_neighbour_lists(ctx)
    contexts = conversation_contexts(ctx)
    rows = build_partitions(ctx, _build_partition, contexts.height, {"contexts": contexts})
    notes = read_notes(rows)
    failures = notes.filter(pl.col("reason") != "").select("context_id", "reason", "final")
    lists = contexts.height - failures.height
    cut = int(notes["cut"].sum())
    figures: dict[str, float | int | str] = {
        "contexts": lists,
        ANSWERS_USABLE: f"{lists} of {lists + failures['final'].sum()}",
        "failed": failures.height,
        **list_figures(rows, lists),
        **({"answers cut at recommend.max_tokens": cut} if cut else {}),
    }
    useless = "" if lists else NO_LIST.format(failures.height)
    return StepResult(rows, figures, failures, useless=useless)


def _build_partition(
    ctx: StepContext, shared: SharedTables, start: int, stop: int
) -> Iterator[NotedRows]:
    """The lists of the contexts `start` to `stop`.

    Notes are of contexts without a list (reason) and of answers that were cut: context_id, reason,
    final, cut.
    """
    contexts = shared["contexts"].slice(start, stop - start).collect()
    requests = _requests_of(read_texts(ctx, contexts), ctx.config)
    answers = stored_answers(requests, ctx.store)
    while chunk := list(islice(answers, CHUNK)):
        lists: dict[str, ParsedList] = {}
        notes: list[tuple[str, str, bool, bool]] = []
        for request, answer in chunk:
            items, reason = read_list(answer, ctx.config)
            if not reason:
                lists[request.owner] = items
            if reason or answer.is_cut:
                notes.append((request.owner, reason, reason != NO_RESPONSE, answer.is_cut))
        yield NotedRows(_list_rows(lists), pl.DataFrame(notes, _NOTES, orient="row"))


def _list_rows(lists: Mapping[str, ParsedList]) -> pl.DataFrame:
    """One row per item of the list of each context: context_id, rank, line, title, year."""
    lines = [line for items in lists.values() for line, _ in items]
    titles = [item for items in lists.values() for _, item in items]
    lengths = pl.Series([len(items) for items in lists.values()], dtype=pl.UInt32)
    ranks = pl.DataFrame(
        {
            "context_id": pl.Series(lists.keys(), dtype=pl.String),
            "rank": pl.int_ranges(1, lengths + 1, dtype=pl.Int32, eager=True),
        }
    )
    return ranks.explode("rank").with_columns(
        line=pl.Series(lines, dtype=pl.String),
        title=pl.Series([item.title for item in titles], dtype=pl.String),
        year=pl.Series([item.year for item in titles], dtype=pl.Int32),
    )


def _has_no_teacher(config: Config) -> bool:
    return config.recommend.source == "neighbours"


def _inputs(ctx: StepContext) -> dict[str, str]:
    if _has_no_teacher(ctx.config):
        return {}
    return answers_identity(teacher_requests(ctx), ctx.store, ctx.config)


def _config(config: Config) -> dict[str, Any]:
    if _has_no_teacher(config):
        return neighbour_settings(config)
    return {
        "list_length": config.list_length,
        "teacher": config.recommend.model,
        **config.domain.identity_settings("line", "line_without_year"),
    }


class TeacherResponses(ResponseSource):
    """One response per context; none for lists of neighbours."""

    def needed(self, config: Config) -> bool:
        """Whether a teacher writes the lists."""
        return not _has_no_teacher(config)

    def requests(self, ctx: StepContext) -> LazyRequests:
        """The request of each context, in order."""
        return teacher_requests(ctx)

    def state(self, ctx: StepContext) -> str:
        """A digest of the teacher's stored responses."""
        if _has_no_teacher(ctx.config):
            return ""
        return responses_state(ctx.config, ctx.store, ctx.config.recommend.model, "recommend")

    def quality(self, ctx: StepContext) -> AnswerQuality:
        """The answers without a list."""

        def read() -> AnswerQuality:
            return stored_quality(
                teacher_requests(ctx), ctx.store, lambda answer: read_list(answer, ctx.config)
            )

        if "conversations" in ctx.frames:
            return read()
        key = (
            ctx.store.location,
            table_version(ctx.store),
            ctx.parents["conversations"].artifact_id,
            endpoint_name(ctx.config),
            canonical_json(ctx.config.model_dump(mode="json", include=_READ_BY)),
        )
        return _LATEST_QUALITY.get(key, read)

    def find_defect(
        self, ctx: StepContext, request: Request, response: Mapping[str, Any]
    ) -> Defect | None:
        """Why an answer has no list; None if it has one."""
        answer = read_answer(response)
        items, reason = read_list(answer, ctx.config)
        if items:
            return None
        recommend = ctx.config.recommend
        advice = (
            ending_advice(answer, "recommend.max_tokens", recommend.max_tokens, "recommend.model")
            or f"Change the prompt in domain.teacher or recommend.model (now {recommend.model})"
        )
        return Defect(reason, advice, answer.text or answer.content)


TEACHER_LISTS = Step(
    stage="recommend",
    kind="teacher_lists",
    version=3,
    build=_build,
    config=_config,
    inputs=_inputs,
    responses=TeacherResponses(),
)
