"""Only lists and catalogs with remarks or unusual signs get another id for their links."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from convrec.artifacts import ArtifactSpec, Store
from convrec.artifacts.step_result import StepResult
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES
from convrec.stages.remap.linked_titles import link_teacher_titles, linking_inputs
from tests.support.films import FILMS

MakeContext = Callable[..., StepContext]


@pytest.mark.parametrize(
    "title",
    ["Heat", "Amélie", "“Heat”", "Fast & Furious", "100% Wolf", "(500) Days of Summer", "Heat {2}"],
)
def test_plain_titles_keep_the_id(make_ctx: MakeContext, title: str) -> None:
    ctx = make_ctx(lists=[("c1", 1, title, 1995)])
    assert linking_inputs(ctx) == {}
    assert "linking" not in CANDIDATES.spec(ctx).inputs


@pytest.mark.parametrize(
    "title",
    [
        "Heat (remake)",
        "Heat [TV series]",
        "Heat (Hitze)",
        "Heat\uff08remake\uff09",
        "\u300aHeat\u300b",
        "He\u200bat",
        "Fast &amp; Furious",
        "Heat%20Wave",
        "Heat\u2122",
    ],
)
def test_other_titles_are_named_in_the_id(make_ctx: MakeContext, title: str) -> None:
    ctx = make_ctx(lists=[("c1", 1, "Ran", 1985), ("c1", 2, title, None)])
    assert linking_inputs(ctx) == {"linking": "2 film"}
    assert CANDIDATES.spec(ctx).inputs["linking"] == "2 film"


def test_titles_of_the_catalog_count_as_well(make_ctx: MakeContext) -> None:
    films = [*FILMS, ("Heat (Remake)", 2024, ["Crime"])]
    assert linking_inputs(make_ctx(films=films)) == {"linking": "2 film"}


def test_stored_titles_are_read_as_well(make_ctx: MakeContext, store: Store) -> None:
    ctx = make_ctx(lists=[("c1", 1, "Heat (remake)", None)])
    refs = {
        kind: store.put(ArtifactSpec(kind, "remap", 1), StepResult(ctx.frames[kind]))
        for kind in ("catalog", "teacher_lists")
    }
    assert linking_inputs(StepContext(ctx.config, store, refs)) == {"linking": "2 film"}


def test_the_noun_of_the_domain_decides_what_a_remark_means(make_ctx: MakeContext) -> None:
    lists = [("c1", 1, "Heat (novel)", None)]
    assert link_teacher_titles(make_ctx(lists=lists)).in_catalog == 0
    books = make_ctx(lists=lists, domain__noun="book")
    assert link_teacher_titles(books).in_catalog == 1
    assert linking_inputs(books) == {"linking": "2 book"}
