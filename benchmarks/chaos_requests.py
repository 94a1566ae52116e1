"""Kill the data stages at random moments, under faults, and count what was bought twice.

    python benchmarks/chaos_requests.py [--runs 20] [--kills 2] [--seed 0]

Each run has its own warehouse and a demo server that misbehaves on 35% of requests. The process
group of `convrec run demo --until adjust` is killed with SIGKILL at random moments after requests
have started, up to --kills times, and then left to finish. The result is compared with a run
without faults and kills, and with the server's own log:

- every run ends with the same artifact ids;
- no request was sent again once its answer was stored;
- at most `llm.max_concurrency` requests per kill were answered twice.

The last line is JSON; the exit status is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.llm.response_store import ResponseStore
from tests.support.demo_process import FAULTS, DemoProcess, count_outcomes

CONCURRENCY = 8
SETTINGS = {
    "ingest.contexts": json.dumps({"train": 120, "validation": 12, "test": 12}),
    "llm.endpoint": "demo",
    "llm.max_concurrency": CONCURRENCY,
    "llm.timeout": 2,
    "llm.max_attempts": 30,
}
PATIENCE = 180.0


def _python(command: list[str]) -> list[str]:
    return [sys.executable, "-m", "flows.cli", *command[1:]]


def start(folder: Path, url: str) -> subprocess.Popen[bytes]:
    settings = {**SETTINGS, "llm.base_url": url}
    command = ["convrec", "run", "demo", "--until", "adjust", "--json", str(folder / "run.json")]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    environment = {
        **os.environ,
        "CONVREC_HOME": str(folder / "home"),
        "PREFECT_HOME": str(folder / "prefect"),
    }
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            _python(command),
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def finish(process: subprocess.Popen[bytes], folder: Path) -> dict[str, str]:
    """Artifact kind → id, after the run has ended."""
    if process.wait(PATIENCE):
        raise SystemExit(f"a run failed:\n{(folder / 'output.txt').read_text()[-3000:]}")
    stages = json.loads((folder / "run.json").read_text())["stages"]
    return {entry["kind"]: entry["artifact_id"] for entry in stages if entry["artifact_id"]}


def kill(process: subprocess.Popen[bytes], server: DemoProcess, rng: random.Random) -> bool:
    """Kill the process group at a random moment after new requests; False if it ended before."""
    before, deadline = len(server.log_lines()), time.monotonic() + PATIENCE
    while len(server.log_lines()) == before:
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 4))
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def stored(folder: Path) -> set[str]:
    """The keys whose answers are stored, including those in the spool."""
    store = Store(folder / "home")
    ResponseStore(store).recover()
    with store.read_connection() as connection:
        rows = connection.execute("SELECT request_key FROM llm_answers").fetchall()
    return {key for (key,) in rows}


def chaos(folder: Path, seed: int, kills: int) -> dict[str, Any]:
    rng, server = random.Random(seed), DemoProcess(folder, FAULTS, seed)
    done = again = 0
    artifacts: dict[str, str] = {}
    try:
        while not artifacts:
            kept, seen = stored(folder), len(server.log_lines())
            process = start(folder, server.url)
            if done < kills and kill(process, server, rng):
                done += 1
            else:
                artifacts = finish(process, folder)
            again += sum(line["key"] in kept for line in server.log_lines()[seen:])
        lines = server.log_lines()
    finally:
        server.close()
    return {
        "seed": seed,
        "kills": done,
        **count_outcomes(lines),
        "sent_again_though_stored": again,
        "artifacts": artifacts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=2, help="Maximum number of kills per run.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as root:
        calm = Path(root) / "calm"
        calm.mkdir()
        server = DemoProcess(calm, "", 0)
        try:
            expected = finish(start(calm, server.url), calm)
        finally:
            server.close()
        for number in range(options.runs):
            folder = Path(root) / f"run-{number}"
            folder.mkdir()
            row = chaos(folder, options.seed + number, options.kills)
            row["same_artifacts"] = row.pop("artifacts") == expected
            rows.append(row)
            print(row, flush=True)
    bad = [
        row["seed"]
        for row in rows
        if not row["same_artifacts"]
        or row["sent_again_though_stored"]
        or row["answered_twice"] > CONCURRENCY * row["kills"]
    ]
    print(json.dumps({"runs": len(rows), "kills": sum(r["kills"] for r in rows), "bad": bad}))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
