"""The step of recommend: the teacher's zero-shot ranked list for every context.

The prompt does not depend on the catalog, so that a catalog edit does not query the teacher again.
Each context is asked once, however many users answered it. Paper: data construction, step 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.llm.answer import read_answer
from convrec.llm.answer_check import Defect, ending_advice
from convrec.llm.endpoint import endpoint_name
from convrec.llm.model_settings import chat_limits, model_settings
from convrec.llm.read import (
    NO_RESPONSE,
    failures_frame,
    responses_state,
    stored_answers,
)
from convrec.llm.requests import LazyRequests, Request
from convrec.stages.base import (
    ANSWERS_USABLE,
    AnswerQuality,
    ResponseSource,
    Step,
    StepContext,
    stored_quality,
)
from convrec.stages.partitions import unique_conversations
from convrec.stages.recommend.neighbours import build_neighbour_lists, neighbour_settings
from convrec.stages.recommend.older_reading import answers_identity
from convrec.stages.recommend.parse import ParsedList, read_list

NO_LIST = (
    "recommend got no list for any of {} conversations. Change recommend.model, "
    "recommend.max_tokens or the prompt in domain.teacher, or the file in recommend.replay"
)
"""Why a run ends with this stage."""


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
    config, teacher = ctx.config, ctx.config.recommend
    limits = chat_limits(
        config, teacher.model, "recommend.max_tokens", teacher.max_tokens, teacher.temperature
    )
    extra = model_settings(config, teacher.model).extra
    endpoint = endpoint_name(config)
    conversations = unique_conversations(ctx)

    def make_requests() -> Iterator[Request]:
        for context_id, conversation in conversations.iter_rows():
            messages = teacher_messages(conversation, config)
            body = {"model": teacher.model, **limits, "messages": messages, **extra}
            yield Request(context_id, endpoint, body)

    return LazyRequests(make_requests, conversations.height)


def _build(ctx: StepContext) -> StepResult:
    if _has_no_teacher(ctx.config):
        return build_neighbour_lists(ctx)
    context_ids: list[str] = []
    lists: list[ParsedList] = []
    failed: list[tuple[str, str, bool]] = []
    cut = 0
    for request, answer in stored_answers(teacher_requests(ctx), ctx.store):
        cut += answer.is_cut
        items, reason = read_list(answer, ctx.config)
        if reason:
            failed.append((request.owner, reason, reason != NO_RESPONSE))
            continue
        context_ids.append(request.owner)
        lists.append(items)
    rows = _list_rows(context_ids, lists)
    answers = len(context_ids) + sum(final for *_, final in failed)
    figures: dict[str, float | int | str] = {
        "contexts": len(context_ids),
        ANSWERS_USABLE: f"{len(context_ids)} of {answers}",
        "failed": len(failed),
        "items a list": round(rows.height / max(len(context_ids), 1), 2),
        "without a year": round(rows["year"].null_count() / max(rows.height, 1), 4),
        **({"answers cut at recommend.max_tokens": cut} if cut else {}),
    }
    return StepResult(
        rows,
        figures,
        failures_frame(failed),
        useless="" if context_ids else NO_LIST.format(len(failed)),
    )


def _list_rows(context_ids: Sequence[str], lists: Sequence[ParsedList]) -> pl.DataFrame:
    """One row per item: context_id, rank, line, title, year."""
    lines = [line for items in lists for line, _ in items]
    titles = [item for items in lists for _, item in items]
    lengths = pl.Series([len(items) for items in lists], dtype=pl.UInt32)
    ranks = pl.DataFrame(
        {
            "context_id": pl.Series(context_ids, dtype=pl.String),
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
        return stored_quality(
            teacher_requests(ctx), ctx.store, lambda answer: read_list(answer, ctx.config)
        )

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
