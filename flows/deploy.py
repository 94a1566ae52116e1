"""`make deploy` and `make worker`: apply the deployments of prefect.yaml, and run what is due.

    python -m flows.deploy            # work pool, deployments, automations; repeatable
    python -m flows.deploy worker     # a worker for the pool, until it is stopped

Everything goes to one server: PREFECT_API_URL, by default the one of `make ui`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convrec.config import ROOT
from convrec.errors import ConfigError, ConvrecError
from convrec.utils.error_text import type_and_first_line
from convrec.utils.terminal import escape_unknown_characters
from flows.server import API_URL, shared_url

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL, POOL_TYPE = "local", "process"
TAG = "convrec"
"""The tag of every deployment in prefect.yaml; the names of automations start with `convrec: `."""

POLL_SECONDS = "2"
"""Seconds between a worker's polls for scheduled runs; Prefect's default is 10."""

PAGE = 200
"""Rows that the server returns at once."""


def main(arguments: list[str]) -> int:
    """Deploy, or run a worker. Returns the exit code."""
    if arguments not in ([], ["worker"]):
        print(f"unknown {' '.join(arguments)!r}; give nothing, or worker", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    escape_unknown_characters()
    try:
        # Before Prefect is imported, which reads it once: this process and all others agree.
        os.environ[API_URL] = shared_url()
        _check_server()
        if arguments:
            os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", POLL_SECONDS)
            command = ["worker", "start", "--pool", POOL, "--type", POOL_TYPE, "--name", "convrec"]
            os.execv(sys.executable, _prefect(*command))  # noqa: S606
        deploy()
    except ConvrecError as error:
        print(f"convrec: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def deploy() -> None:
    """Create the work pool, deploy everything, and apply the automations.

    Raises ConvrecError with Prefect's output if Prefect refuses something.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _create_pool(client)
        _run_prefect("--no-prompt", "deploy", "--all")
        print(f"deployments applied at {os.environ[API_URL]}; `make worker` runs what is due")
        entries = _entries("automations.yaml", "automations")
        apply_automations(client, entries)
        for entry in entries:
            print(f"automation {entry['name']!r} applied")
        for line in outdated(client, entries):
            print(line)


def apply_automations(client: SyncPrefectClient, entries: Sequence[dict[str, Any]]) -> None:
    """Create the automations, or bring those of the same name up to date; delete duplicates."""
    from prefect.events.schemas.automations import AutomationCore

    for entry in entries:
        wanted: Any = AutomationCore.model_validate(entry).model_dump(
            mode="json", exclude={"owner_resource"}
        )
        query = {"automations": {"name": {"any_": [entry["name"]]}}}
        existing = client.request("POST", "/automations/filter", json=query).json()
        if not existing:
            client.request("POST", "/automations/", json=wanted).raise_for_status()
            continue
        first, *duplicates = (f"/automations/{each['id']}" for each in existing)
        client.request("PUT", first, json=wanted).raise_for_status()  # type: ignore[arg-type]
        for path in duplicates:
            client.request("DELETE", path).raise_for_status()  # type: ignore[arg-type]


def outdated(client: SyncPrefectClient, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences about automations and deployments of an earlier version of the files."""
    lines = []
    names = {entry["name"] for entry in entries}
    for found in _all_rows(client, "/automations/filter"):
        if found["name"].startswith(f"{TAG}: ") and found["name"] not in names:
            lines.append(
                f"automation {found['name']!r} is not in automations.yaml; to delete it: "
                f"prefect automation delete --id {found['id']}"
            )
    current = {
        (entry["name"], entry["entrypoint"]) for entry in _entries("prefect.yaml", "deployments")
    }
    flows = {flow["id"]: flow["name"] for flow in _all_rows(client, "/flows/filter")}
    for found in _all_rows(client, "/deployments/filter"):
        if TAG in found["tags"] and (found["name"], found["entrypoint"]) not in current:
            name = f"{flows.get(found['flow_id'], '?')}/{found['name']}"
            lines.append(
                f"deployment {name} is not in prefect.yaml, and its schedules go on; to delete it: "
                f"prefect deployment delete {name}"
            )
    return lines


def _create_pool(client: SyncPrefectClient) -> None:
    """Create the work pool if there is none. One that exists stays as it is, also if paused."""
    from prefect.exceptions import ObjectNotFound

    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        _run_prefect("work-pool", "create", POOL, "--type", POOL_TYPE)
        return
    if pool.type != POOL_TYPE:
        raise ConfigError(
            f"the work pool {POOL!r} on this server has type {pool.type!r}, and the deployments "
            f"need type {POOL_TYPE!r}; delete it (prefect work-pool delete {POOL}), or name "
            "another pool in prefect.yaml"
        )
    if pool.is_paused:
        print(f"the work pool {POOL!r} is paused; to go on: prefect work-pool resume {POOL}")


def _check_server() -> None:
    from prefect.client.orchestration import get_client

    client = get_client(sync_client=True)
    if problem := client.api_healthcheck():
        raise ConvrecError(
            f"no Prefect server answers at {os.environ[API_URL]} ({type_and_first_line(problem)}); "
            f"start one with `make ui`, or set {API_URL} to the address of yours, which ends in "
            "/api"
        )


def _run_prefect(*arguments: str) -> None:
    """Run a Prefect command, which prints pages; raise ConvrecError with them if it fails."""
    result = subprocess.run(
        _prefect(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        print(result.stdout, file=sys.stderr)
        raise ConvrecError(f"`prefect {' '.join(arguments)}` failed; its output is above")


def _all_rows(client: SyncPrefectClient, path: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        query = {"limit": PAGE, "offset": len(rows)}
        page = client.request("POST", path, json=query).json()
        rows += page
        if len(page) < PAGE:
            return rows


def _entries(file: str, key: str) -> list[dict[str, Any]]:
    import yaml

    entries: list[dict[str, Any]] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))[key]
    return entries


def _prefect(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
