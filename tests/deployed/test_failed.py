"""The failure artifact of a deployed run has a command that resumes the run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from convrec.config import ROOT
from tests.support.deployment import Deployment


@pytest.mark.slow
def test_the_command_of_a_failure_artifact_resumes_the_run(
    deployed: Deployment, tiny: dict[str, Any], tmp_path: Path
) -> None:
    deployed.start_worker()
    catalog = tmp_path / "not there yet.csv"
    overrides = {**tiny, "ingest.catalog": str(catalog)}
    run = deployed.schedule_run("pipeline/demo", overrides=overrides, until="adjust")
    assert deployed.wait_for_run(run) == "FAILED", deployed.logs()
    page = deployed.artifact_data(run, "failure")
    assert page.startswith("## ingest: catalog failed")
    assert "does not exist" in page
    command = re.search(r"^prefect deployment run .*$", page, re.MULTILINE)
    assert command, page

    catalog.write_bytes((ROOT / "catalog" / "demo.csv").read_bytes())
    deployed.run_module(*shlex.split(command[0]))
    again = deployed.flow_runs("pipeline/demo")[-1]["id"]
    assert again != run
    assert deployed.wait_for_run(again) == "COMPLETED", deployed.logs()
    kinds = {e["kind"] for e in deployed.run_record(again)["stages"] if e["artifact_id"]}
    assert "demonstrations" in kinds
    assert "checkpoint" not in kinds  # the command has `until`
