"""A deployment whose run fails on a worker: what its page says, and that the command goes on."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from convrec.config import ROOT
from tests.deployed.conftest import Deployed


@pytest.mark.slow
def test_the_command_on_the_page_of_a_failed_run_goes_on(
    deployed: Deployed, tiny: dict[str, Any], tmp_path: Path
) -> None:
    deployed.work()
    catalog = tmp_path / "not there yet.csv"
    overrides = {**tiny, "ingest.catalog": str(catalog)}
    run = deployed.due("pipeline/demo", overrides=overrides, until="adjust")
    assert deployed.finish(run) == "FAILED", deployed.logs()
    (left,) = [a["data"] for a in deployed.artifacts(run) if a["key"] == "failure"]
    assert left.startswith("## ingest: catalog failed")
    assert "does not exist" in left
    found = re.search(r"^prefect deployment run .*$", left, re.MULTILINE)
    assert found, left

    catalog.write_bytes((ROOT / "catalog" / "demo.csv").read_bytes())
    deployed.run(*shlex.split(found[0]))
    again = deployed.runs_of("pipeline/demo")[-1]["id"]
    assert again != run
    assert deployed.finish(again) == "COMPLETED", deployed.logs()
    made = {e["kind"] for e in deployed.record(again)["stages"] if e["artifact_id"]}
    assert "demonstrations" in made
    assert "checkpoint" not in made  # `until` went along
