"""The daily work in a browser: everything deployed, a catalog published, the run looked at."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from benchmarks.catalog_edit import judged, sent
from convrec.artifacts import Store
from convrec.config import ROOT

if TYPE_CHECKING:
    from .conftest import Deployed

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
    "sft.epochs": 1,
    "rank_grpo.steps": 2,
    "rank_grpo.prompts_per_step": 2,
    "rank_grpo.group_size": 2,
    "rank_grpo.eval_every": 0,
    "evaluate.samples": 1,
    "evaluate.bootstrap": 50,
}
"""A training of seconds; the data are a small demo's."""


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a headless Chromium; skips where there is none."""
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


def test_a_catalog_is_published_rebuilt_and_looked_at(
    page: Any, deployed: Deployed, tmp_path: Path
) -> None:
    deployed.work()
    deployed.preset("build-sft-data/on-catalog-change", overrides=DATA)
    built = deployed.due("pipeline/demo", overrides=DATA | QUICK)
    assert deployed.finish(built) == "COMPLETED", deployed.logs()

    known = judged(Store(deployed.home))
    edited = edit(tmp_path / "edited.csv")
    said = deployed.run("flows.cli", "catalog", "publish", str(edited), "--name", "demo")
    assert "announced; build-sft-data/on-catalog-change rebuilds demo" in said
    deployed.wait_for(lambda: deployed.runs_of("build-sft-data/on-catalog-change"), 120)
    (started,) = deployed.runs_of("build-sft-data/on-catalog-change")
    rebuilt = str(started["id"])
    assert deployed.finish(rebuilt) == "COMPLETED", deployed.logs()
    assert started["parameters"] | {"name": "demo", "version": 2} == started["parameters"]

    asked_only_about_new_pairs(deployed, rebuilt, known)
    names_what_changed(deployed, rebuilt)
    shows_the_run(page, deployed, rebuilt)
    opens_the_producers(page, deployed, rebuilt, {built, rebuilt})
    shows_the_report(page, deployed)


def edit(path: Path) -> Path:
    """The demo's catalog with one film less and one more."""
    lines = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8").splitlines()
    extra = "The Iron Giant,1999,Animation|Family,,boy robot friendship cold war"
    path.write_text("\n".join([*lines[:60], *lines[61:], extra]) + "\n", encoding="utf-8")
    return path


def asked_only_about_new_pairs(deployed: Deployed, run: str, known: set[tuple[Any, ...]]) -> None:
    with Store(deployed.home).read_connection() as connection:
        pairs = connection.execute(
            "SELECT judge_key, unnest(items), pass FROM llm_judged JOIN "
            "(SELECT DISTINCT request_key FROM llm_ledger WHERE run = ?) USING (request_key)",
            [run],
        ).fetchall()
    assert set(sent(Store(deployed.home), run)) == {"reflect"}
    assert pairs
    assert not known & set(pairs)


def names_what_changed(deployed: Deployed, run: str) -> None:
    left = deployed.artifacts(run)
    assert (left[0]["key"], left[-1]["key"]) == ("change-plan", "change-report")
    assert "The Iron Giant (1999)" in left[0]["data"]
    (table,) = [artifact for artifact in left if artifact["key"] == "changed-demonstrations"]
    changes = pl.read_csv(next((deployed.home / "changes").glob("*.csv")))
    names = set(changes["context_id"])
    assert str(len(names)) in left[-1]["description"].replace(",", "")
    assert all(name in table["data"] for name in list(names)[:50])
    assert "The Iron Giant (1999)" in left[-1]["data"]


def shows_the_run(page: Any, deployed: Deployed, run: str) -> None:
    page.goto(f"{deployed.url}/v2/runs/flow-run/{run}")
    page.get_by_text("on-catalog-change demo").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("change-report").first.wait_for()


def opens_the_producers(page: Any, deployed: Deployed, run: str, runs: set[str]) -> None:
    """Each node of the drawing opens the run that made it, also one that was cached."""
    (lineage,) = [a for a in deployed.artifacts(run) if a["key"] == "lineage"]
    address = f"{deployed.url}/v2/artifacts/artifact/{lineage['id']}"
    page.goto(address)
    # The page draws twice: what is there first may be gone a moment later.
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
        page.wait_for_url(re.compile("/v2/runs/flow-run/"))
        opened.add(page.url.rpartition("/")[2].partition("?")[0])
    assert opened == runs


def shows_the_report(page: Any, deployed: Deployed) -> None:
    store = Store(deployed.home)
    report = store.folder(store.headers("report")[-1].ref.artifact_id) / "report.html"
    page.goto(report.as_uri())
    assert page.locator("h2").count() > 3
    assert page.locator("svg").count() > 0
    assert "demo" in page.locator("body").inner_text()
