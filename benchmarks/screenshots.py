"""The images in docs/images: a run's page, its lineage, the change plan, the HTML report.

    python benchmarks/screenshots.py [--run FLOW_RUN_ID] [--out docs/images] [--only report]

Uses the newest run started by a published catalog (or --run) from the Prefect server at
PREFECT_API_URL, by default that of `make ui`, and the newest report from the warehouse. With
`--only report` it needs no server. Needs Chromium (Debian: apt-get install chromium) and the extra
`browser`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.config import ROOT, home

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZE = {"width": 1280, "height": 1000}
SETTLE = 6000
"""Milliseconds allowed for a page to render."""


def newest_run(client: Any) -> str:
    """The newest completed run of build-sft-data/on-catalog-change."""
    deployment = client.read_deployment_by_name("build-sft-data/on-catalog-change")
    query = {
        "flow_runs": {
            "deployment_id": {"any_": [str(deployment.id)]},
            "state": {"type": {"any_": ["COMPLETED"]}},
        },
        "sort": "END_TIME_DESC",
        "limit": 1,
    }
    found = client.request("POST", "/flow_runs/filter", json=query).json()
    if not found:
        sys.exit(
            "no run of build-sft-data/on-catalog-change has completed; publish a catalog first"
        )
    return str(found[0]["id"])


def artifact_ids(client: Any, run: str) -> dict[str, str]:
    """Key → id of the run's artifacts in the UI."""
    query = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    found = client.request("POST", "/artifacts/filter", json=query).json()
    return {artifact["key"]: artifact["id"] for artifact in found if artifact["key"]}


def shoot(page: Any, address: str, awaited: str, path: Path) -> None:
    """Open a page, wait for the selector `awaited`, and save a screenshot."""
    page.goto(address)
    page.locator(awaited).first.wait_for(timeout=60_000)
    page.wait_for_timeout(SETTLE)
    page.screenshot(path=path)
    print(path)


def run_pages(run: str) -> list[tuple[str, str, str]]:
    """Address, awaited selector and image of the page of a run, and of artifacts that it shows."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    from tasks.catalog_event import LOCAL_URL

    api = get_current_settings().api.url or LOCAL_URL
    ui = api.removesuffix("/api")
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        run = run or newest_run(client)
        keys = artifact_ids(client, run)
    artifacts = {
        "lineage": "svg a, svg .clickable",
        "change-plan": "text=Requests to send",
    }
    return [
        (f"{ui}/v2/runs/flow-run/{run}?tab=Artifacts", "canvas", "run.png"),
        *(
            (f"{ui}/v2/artifacts/artifact/{keys[key]}", awaited, f"{key}.png")
            for key, awaited in artifacts.items()
        ),
    ]


def report_pages() -> list[tuple[str, str, str]]:
    """The same of the newest report of the warehouse, if it has one."""
    store = Store(home())
    reports = store.headers("report")
    files = [store.folder(each.ref.artifact_id) / "report.html" for each in reports[-1:]]
    return [(file.as_uri(), "h1, h2", "report.png") for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=["report"])
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    pages = [*([] if options.only else run_pages(options.run)), *report_pages()]
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        page = browser.new_page(viewport=SIZE)
        for address, awaited, image in pages:
            shoot(page, address, awaited, options.out / image)
        browser.close()


if __name__ == "__main__":
    main()
