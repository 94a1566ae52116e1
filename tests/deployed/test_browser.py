"""Publishing a catalog starts a rebuild, whose run, lineage and report open in a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Store
from tests.support.catalogs import DEMO_LINES, write_lines
from tests.support.deployment import Deployment
from tests.support.judged_pairs import judged_pairs, requests_by_stage

pytestmark = pytest.mark.browser

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DATA = {"ingest.contexts": {"train": 120, "validation": 20, "test": 20}}
QUICK = {
    "model.hidden": 16,
    "model.layers": 1,
    "model.vocabulary": 400,
    "model.max_completion_tokens": 512,
    "sft.epochs": 1,
    "rank_grpo.steps": 2,
    "rank_grpo.prompts_per_step": 2,
    "rank_grpo.group_size": 2,
    "rank_grpo.eval_every": 0,
    "evaluate.samples": 1,
    "evaluate.bootstrap": 50,
}
"""Training in seconds, on the data of a small demo."""


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of headless Chromium; skips if it is not installed."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason='no Playwright: pip install -e ".[browser]"'
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path; Debian: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=OPTIONS)
        opened = browser.new_page(viewport={"width": 1280, "height": 1000})
        opened.set_default_timeout(90_000)
        yield opened
        browser.close()


def test_a_published_catalog_is_rebuilt_and_shown_in_the_ui(
    page: Any, deployed: Deployment, tmp_path: Path
) -> None:
    deployed.start_worker()
    deployed.set_parameters("build-sft-data/on-catalog-change", overrides=DATA)
    built = deployed.schedule_run("pipeline/demo", overrides=DATA | QUICK)
    assert deployed.wait_for_run(built) == "COMPLETED", deployed.logs()

    pairs_before = judged_pairs(Store(deployed.home))
    edited = write_edited_catalog(tmp_path / "edited.csv")
    output = deployed.run_module("flows.cli", "catalog", "publish", str(edited), "--name", "demo")
    assert "announced; build-sft-data/on-catalog-change rebuilds demo" in output
    deployed.wait_for(lambda: deployed.flow_runs("build-sft-data/on-catalog-change"), 120)
    (started,) = deployed.flow_runs("build-sft-data/on-catalog-change")
    rebuilt = str(started["id"])
    assert deployed.wait_for_run(rebuilt) == "COMPLETED", deployed.logs()
    assert started["parameters"] | {"name": "demo", "version": 2} == started["parameters"]

    check_only_new_pairs_were_sent(deployed, rebuilt, pairs_before)
    check_change_report(deployed, rebuilt)
    check_run_page(page, deployed, rebuilt)
    check_lineage_links(page, deployed, rebuilt)
    check_report(page, deployed, built)


def write_edited_catalog(path: Path) -> Path:
    """The demo's catalog with one film removed and one added."""
    extra = "The Iron Giant,1999,Animation|Children,,boy robot friendship cold war,warm,Brad Bird,"
    return write_lines(
        path, [*(line for line in DEMO_LINES if not line.startswith("Heat,")), extra]
    )


def check_only_new_pairs_were_sent(
    deployed: Deployment, run: str, pairs_before: set[tuple[Any, ...]]
) -> None:
    with Store(deployed.home).read_connection() as connection:
        pairs = connection.execute(
            "SELECT judge_key, unnest(items), pass FROM llm_judged JOIN "
            "(SELECT DISTINCT request_key FROM llm_ledger WHERE run = ?) USING (request_key)",
            [run],
        ).fetchall()
    assert set(requests_by_stage(Store(deployed.home), run)) == {"remap", "reflect"}
    assert pairs
    assert pairs_before.isdisjoint(pairs)


def check_change_report(deployed: Deployment, run: str) -> None:
    artifacts = deployed.artifacts(run)
    plan, report, summary = artifacts[0], artifacts[-2], artifacts[-1]
    keys = [one["key"] for one in (plan, report, summary)]
    assert keys == ["change-plan", "change-report", "summary"]
    assert "The Iron Giant (1999)" in plan["data"]
    table = deployed.artifact_data(run, "changed-demonstrations")
    changes = pl.read_csv(next((deployed.home / "changes").glob("*.csv")))
    names = set(changes["context_id"])
    assert names
    assert str(len(names)) in report["description"].replace(",", "")
    assert all(name in table for name in list(names)[:50])
    assert "The Iron Giant (1999)" in report["data"]


def check_run_page(page: Any, deployed: Deployment, run: str) -> None:
    page.goto(f"{deployed.url}/v2/runs/flow-run/{run}")
    page.get_by_text("catalog change · demo · catalog v2 · 2 edits").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("change-report").first.wait_for()
    tab = page.get_by_role("tabpanel").inner_text()
    keys = ("summary", "change-report", "change-plan", "changed-demonstrations", "lineage")
    assert min(keys, key=tab.index) == "summary"


def check_lineage_links(page: Any, deployed: Deployment, run: str) -> None:
    """Each node of the lineage opens the page of its own figures, also a cached one."""
    (lineage,) = [a for a in deployed.artifacts(run) if a["key"] == "lineage"]
    address = f"{deployed.url}/v2/artifacts/artifact/{lineage['id']}"
    page.goto(address)
    # The page draws twice and replaces the elements of the first drawing.
    page.wait_for_function("document.querySelectorAll('svg a').length >= 8")
    page.wait_for_timeout(2000)
    nodes = page.locator("svg a").count()
    assert nodes >= 8
    opened = set()
    for number in range(nodes):
        page.goto(address)
        node = page.locator("svg a").nth(number)
        node.wait_for()
        node.locator(".node, g").first.click()
        page.wait_for_url(lambda url: str(lineage["id"]) not in url)
        assert "/v2/artifacts/artifact/" in page.url
        opened.add(page.url.rpartition("/")[2].partition("?")[0])
    assert len(opened) == nodes


def check_report(page: Any, deployed: Deployment, run: str) -> None:
    """The summary of a run links to its report, and the same server has it."""
    (summary,) = [a for a in deployed.artifacts(run) if a["key"] == "summary"]
    page.goto(f"{deployed.url}/v2/artifacts/artifact/{summary['id']}")
    page.get_by_text("Open the HTML report").click()
    page.wait_for_url(re.compile("/convrec/reports/report-"))
    assert page.locator("h2").count() > 3
    assert page.locator("svg").count() > 0
    assert "demo" in page.locator("body").inner_text()
