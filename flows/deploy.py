"""`make deploy` and `make worker`: apply the deployments of prefect.yaml to the current server.

    python -m flows.deploy            # work pool, deployments, automations; repeatable
    python -m flows.deploy worker     # a worker for the pool, until it is stopped

The server is PREFECT_API_URL, by default the one of `make ui`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from convrec.config import ROOT

POOL = "local"
POLL_SECONDS = "2"
"""Seconds between a worker's polls for scheduled runs; Prefect's default is 10."""


def main(arguments: list[str]) -> int:
    """Deploy, or run a worker. Returns Prefect's exit code."""
    from prefect.settings import get_current_settings

    from tasks.catalog_event import LOCAL_URL

    os.chdir(ROOT)
    os.environ["PREFECT_API_URL"] = get_current_settings().api.url or LOCAL_URL
    if arguments == ["worker"]:
        os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", POLL_SECONDS)
        command = ["worker", "start", "--pool", POOL, "--type", "process", "--name", "convrec"]
        os.execv(sys.executable, _prefect(*command))  # noqa: S606
    if arguments:
        print(f"unknown {' '.join(arguments)!r}; give nothing, or worker", file=sys.stderr)
        return 2
    return deploy()


def deploy() -> int:
    """Create the work pool, deploy everything, and apply the automations."""
    command = _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        print(
            f"no Prefect server answers at {os.environ['PREFECT_API_URL']}; start one with "
            "`make ui`, or set PREFECT_API_URL",
            file=sys.stderr,
        )
        return 1
    deployed = subprocess.run(
        _prefect("--no-prompt", "deploy", "--all"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if deployed.returncode:  # on success Prefect prints pages
        print(deployed.stdout, file=sys.stderr)
        return deployed.returncode
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
            wanted = AutomationCore.model_validate(entry).model_dump(
                mode="json", exclude={"owner_resource"}
            )
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
