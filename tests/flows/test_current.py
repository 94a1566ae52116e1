"""What is known to be current is found without its requests, and never after a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import ROOT, load
from convrec.pipeline.plan import make_plan
from flows.pipeline import pipeline
from tests.flows.conftest import ids

Small = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds whose requests were gone through."""
    import tasks.fetch as module

    kinds: list[str] = []
    whole = module.fetch_responses

    def noted(step: Any, *args: Any, **options: Any) -> Any:
        kinds.append(step.kind)
        return whole(step, *args, **options)

    monkeypatch.setattr(module, "fetch_responses", noted)
    return kinds


def run(small: Small) -> dict[str, Any]:
    return pipeline(profile="demo", overrides=small, until="reflect")


def test_an_unchanged_run_makes_no_requests(home: Path, small: Small, asked: list[str]) -> None:
    first = run(small)
    assert asked == ["teacher_lists", "judgments"]
    second = run(small)
    assert len(asked) == 2
    assert ids(first) == ids(second)
    assert second["llm"]["requests"] == second["llm"]["from_ledger"] == first["llm"]["requests"]
    plan = make_plan(load("demo", small), Store(home))
    states = {entry["kind"]: entry["state"] for entry in plan["stages"]}
    assert states["teacher_lists"] == states["judgments"] == "cached"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("DELETE FROM llm_judged", "judgments"),
        ("DELETE FROM artifacts WHERE kind = 'judgments'", "judgments"),
        ("DELETE FROM llm_answers WHERE model = 'demo-teacher'", "teacher_lists"),
    ],
)
def test_whatever_changed_is_seen(
    home: Path, small: Small, asked: list[str], change: str, kind: str
) -> None:
    first = run(small)
    asked.clear()
    with Store(home).transaction() as connection:
        connection.execute(change)
    again = run(small)
    assert asked == [kind]
    assert ids(again) == ids(first)


def test_other_settings_are_not_taken_for_these(home: Path, small: Small, asked: list[str]) -> None:
    run(small)
    asked.clear()
    run({**small, "llm.max_concurrency": 3})
    assert "judgments" in asked


def test_after_a_catalog_edit_the_teacher_is_not_looked_up_again(
    home: Path, small: Small, asked: list[str], tmp_path: Path
) -> None:
    """Not even where the judge, which may be the same model, has answered about new pairs."""
    same = {**small, "reflect.model": "demo-teacher"}
    run(same)
    asked.clear()
    catalog = tmp_path / "edited.csv"
    shipped = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8")
    catalog.write_text(shipped.replace("Heat,1995", "Heat: The Cut,1995"), encoding="utf-8")
    edited = run({**same, "ingest.catalog": str(catalog)})
    assert asked == ["judgments"]
    assert edited["llm"]["sent"] > 0
    asked.clear()
    run({**same, "ingest.catalog": str(catalog)})
    assert asked == []
