"""`make deploy` and `make worker`: the deployments of prefect.yaml on the server in use.

    python -m flows.deploy            # work pool, deployments, automations; may be run again
    python -m flows.deploy worker     # a worker for the pool, until it is stopped

The server is PREFECT_API_URL, or where that is not set the one of `make ui`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from convrec.config import ROOT

POOL = "local"
LOOK_EVERY = "2"
"""Seconds between two looks of the worker at what is due; Prefect's own default is 10."""


def main(arguments: list[str]) -> int:
    """Deploy, or work; the exit code of Prefect."""
    from prefect.settings import get_current_settings

    from tasks.catalog_event import LOCAL_URL

    os.chdir(ROOT)
    os.environ["PREFECT_API_URL"] = get_current_settings().api.url or LOCAL_URL
    if arguments == ["worker"]:
        os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", LOOK_EVERY)
        command = ["worker", "start", "--pool", POOL, "--type", "process", "--name", "convrec"]
        os.execv(sys.executable, _prefect(*command))  # noqa: S606
    if arguments:
        print(f"unknown {' '.join(arguments)!r}; give nothing, or worker", file=sys.stderr)
        return 2
    return deploy()


def deploy() -> int:
    """Make the pool where there is none, deploy everything, and apply the automations."""
    command = _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        print(
            f"no Prefect server answers at {os.environ['PREFECT_API_URL']}; start one with "
            "`make ui`, or set PREFECT_API_URL",
            file=sys.stderr,
        )
        return 1
    told = subprocess.run(
        _prefect("--no-prompt", "deploy", "--all"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if told.returncode:  # what Prefect says of each that worked fills pages
        print(told.stdout, file=sys.stderr)
        return told.returncode
    print(f"deployments applied at {os.environ['PREFECT_API_URL']}; `make worker` runs what is due")
    for name in automate():
        print(f"automation {name!r} applied")
    return 0


def automate() -> list[str]:
    """Make the automations of automations.yaml, or bring those of the same name up to date."""
    import yaml
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore

    entries: list[dict[str, Any]] = yaml.safe_load((ROOT / "automations.yaml").read_text())[
        "automations"
    ]
    with get_client(sync_client=True) as client:
        for entry in entries:
            wanted = AutomationCore.model_validate(entry).model_dump(mode="json")
            query = {"automations": {"name": {"any_": [entry["name"]]}}}
            found = client.request("POST", "/automations/filter", json=query).json()
            if found:
                path = f"/automations/{found[0]['id']}"
                client.request("PUT", path, json=wanted).raise_for_status()  # type: ignore[arg-type]
            else:
                client.request("POST", "/automations/", json=wanted).raise_for_status()
    return [entry["name"] for entry in entries]


def _prefect(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
