"""An artifact known to be current is reused without building its requests again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import ROOT, load
from convrec.pipeline.plan import make_plan
from flows.pipeline import pipeline
from tasks import fetch
from tests.support.summaries import artifact_ids


@pytest.fixture
def small(small: dict[str, Any]) -> dict[str, Any]:
    """Without descriptions, which would ask for more."""
    return {**small, "remap.describe": "off"}


Small = dict[str, Any]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The artifact kinds whose responses were fetched, in order."""
    kinds: list[str] = []
    fetch_responses = fetch.fetch_responses

    def recording(step: Any, *args: Any, **options: Any) -> Any:
        kinds.append(step.kind)
        return fetch_responses(step, *args, **options)

    monkeypatch.setattr(fetch, "fetch_responses", recording)
    return kinds


def run(small: Small) -> dict[str, Any]:
    return pipeline(profile="demo", overrides=small, until="reflect")


def test_an_unchanged_run_makes_no_requests(home: Path, small: Small, fetched: list[str]) -> None:
    first = run(small)
    assert fetched == ["teacher_lists", "judgments"]
    second = run(small)
    assert len(fetched) == 2
    assert artifact_ids(first) == artifact_ids(second)
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
def test_a_change_in_the_warehouse_fetches_again(
    home: Path, small: Small, fetched: list[str], change: str, kind: str
) -> None:
    first = run(small)
    fetched.clear()
    with Store(home).transaction() as connection:
        connection.execute(change)
    again = run(small)
    assert fetched == [kind]
    assert artifact_ids(again) == artifact_ids(first)


def test_other_settings_fetch_again(home: Path, small: Small, fetched: list[str]) -> None:
    run(small)
    fetched.clear()
    run({**small, "llm.max_concurrency": 3})
    assert "judgments" in fetched


def test_a_catalog_edit_does_not_fetch_from_the_teacher(
    home: Path, small: Small, fetched: list[str], tmp_path: Path
) -> None:
    """Not even if the judge is the same model and has rated new pairs."""
    one_model = {**small, "reflect.model": "demo-teacher"}
    run(one_model)
    fetched.clear()
    catalog = tmp_path / "edited.csv"
    shipped = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8")
    catalog.write_text(shipped.replace("Heat,1995", "Heat: The Cut,1995"), encoding="utf-8")
    edited = run({**one_model, "ingest.catalog": str(catalog)})
    assert fetched == ["judgments"]
    assert edited["llm"]["sent"] > 0
    fetched.clear()
    run({**one_model, "ingest.catalog": str(catalog)})
    assert fetched == []
