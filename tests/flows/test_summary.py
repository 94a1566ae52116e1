"""What a run shows in the artifacts tab: the summary first, then few others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact

from convrec.artifacts import Store
from convrec.errors import ConvrecError
from flows.pipeline import pipeline
from tasks import publish
from tests.support.prefect_artifacts import artifacts_by_key, published_artifacts

Small = dict[str, Any]


def in_the_tab(flow_run_id: str) -> list[Artifact]:
    """As Prefect's UI sorts them."""
    found = published_artifacts(flow_run_id)
    return sorted(found, key=lambda artifact: artifact.id.hex, reverse=True)


def text_of(artifact: Artifact) -> str:
    return str(artifact.data)


def test_the_tab_begins_with_the_summary(home: Path, small: Small) -> None:
    summary = pipeline(profile="demo", overrides=small)
    tab = in_the_tab(summary["flow_run_id"])
    assert [tab[0].key, *sorted(str(one.key) for one in tab[1:])] == [
        "summary",
        "evaluation",
        "lineage",
        "quarantine",
        "report",
    ]
    assert all(one.description and "-" not in one.description for one in tab)
    page, by_key = text_of(tab[0]), {str(one.key): one for one in tab}
    assert page.startswith("**Rank-GRPO and SFT rank alike**: NDCG@20 +0.000")
    assert "- Worse than the teacher: -0." in page
    assert "18 artifacts were built in" in page
    assert f"{summary['llm']['sent']:,} sent; ${summary['llm']['usd']:.4f} billed" in page
    assert "conversations\\: 52 rows read\\, 6 set aside" in page
    for key in ("evaluation", "lineage", "quarantine"):
        assert f"[{key}](/v2/artifacts/artifact/{by_key[key].id})" in page
    report = next(e["artifact_id"] for e in summary["stages"] if e["kind"] == "report")
    assert f"(/convrec/reports/{report})" in page
    assert f"(/convrec/reports/{report})" in text_of(by_key["report"])
    assert summary["report"] in page

    diagram = text_of(by_key["lineage"])
    nodes = diagram.count("[" + '"')
    assert nodes == 18
    assert diagram.count('href "/v2/artifacts/artifact/') == nodes
    assert f'href "/v2/artifacts/artifact/{by_key["report"].id}"' in diagram

    again = pipeline(profile="demo", overrides=small)
    tab = in_the_tab(again["flow_run_id"])
    assert tab[0].key == "summary"
    assert "all 18 artifacts came from the cache" in text_of(tab[0])
    assert f"[quarantine](/v2/artifacts/artifact/{by_key['quarantine'].id})" in text_of(tab[0])


def test_set_aside_rows_are_shown_with_reasons(home: Path, small: Small) -> None:
    run = pipeline(profile="demo", overrides=small, until="ingest")["flow_run_id"]
    artifact = artifacts_by_key(run)["quarantine"]
    assert artifact.description == "8 input rows set aside, and why"
    page = text_of(artifact)
    assert "| broken year \\'195\\' \\(allowed are 1400 to 2035\\, or empty\\) | 1 |" in page
    row = next(line for line in page.splitlines() if line.startswith("| demo\\.csv\\, line 206"))
    assert "Blade Runner\\,1982" in row
    assert "convrec artifacts export quarantine-" in page


def test_figures_are_on_the_task_run_alone(home: Path, small: Small) -> None:
    run = pipeline(profile="demo", overrides=small, until="ingest")
    catalog = next(e["artifact_id"] for e in run["stages"] if e["kind"] == "catalog")
    maker = Store(home).header(catalog).producer.task_run_id
    with get_client(sync_client=True) as client:
        found = client.request(
            "POST", "/artifacts/filter", json={"artifacts": {"task_run_id": {"any_": [maker]}}}
        ).json()
    (artifact,) = found
    assert artifact["flow_run_id"] is None
    assert artifact["description"] == "204 items that lists may name"
    assert f'"value": "{catalog}"' in artifact["data"]
    assert artifact["data"].count('"rows"') == 1


def test_a_failed_run_begins_with_the_failure(home: Path, small: Small) -> None:
    broken = {**small, "llm.max_usd": 0.0001}
    state: Any = pipeline(profile="demo", overrides=broken, until="adjust", return_state=True)
    with pytest.raises(ConvrecError):
        state.result()
    tab = in_the_tab(str(state.state_details.flow_run_id))
    assert [one.key for one in tab if one.key != "quarantine"] == ["failure", "lineage"]
    diagram = text_of(tab[-1]) if tab[-1].key == "lineage" else text_of(tab[1])
    assert 'f0["recommend#58; teacher lists<br/>failed"]' in diagram


def test_drawing_ids_ends(home: Path, monkeypatch: pytest.MonkeyPatch, small: Small) -> None:
    monkeypatch.setattr(publish, "FIRST_PLACES", "")  # no id is that low
    monkeypatch.setattr(publish, "MAX_DRAWS", 3)
    run = pipeline(profile="demo", overrides=small, until="ingest")["flow_run_id"]
    keys = [one.key for one in published_artifacts(run)]
    assert sorted(map(str, keys)) == ["lineage", "quarantine", "summary"]
