"""`kill -9` of whole runs, from ingest to evaluate, at random moments and under request faults.

    python -m tests.support.killed_runs [--kills 20] [--seed 0] [--until STAGE]

The first run is undisturbed. In each further run, the process group is killed up to three times and
the same command started again, until it completes. Each further run has an empty warehouse. They
continue until the number of kills is reached. Each completed run must have:

- the same artifacts: ids, rows, and the bytes of the checkpoints;
- no request sent again after its response was stored;
- at most `llm.max_concurrency` requests per kill answered twice.

Moments are CPU seconds of the process group, so they do not depend on the load of the machine; one
is drawn from each equal part of an undisturbed run. The last line is JSON; the exit status is 1 if
a check failed. The seed is printed; the same seed draws the same moments and faults.
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

import psutil

from convrec.artifacts import Store
from convrec.config import ROOT
from convrec.llm.spool import read_segment
from tests.support.demo_process import FAULTS, DemoProcess, count_outcomes

CONCURRENCY = 8
KILLS_PER_RUN = 3
TIMEOUT = 1800.0
"""Seconds that one run may take on a busy machine."""

TINY: dict[str, Any] = {
    "ingest.contexts": {"train": 24, "validation": 4, "test": 6},
    "model.hidden": 16,
    "model.layers": 1,
    "model.vocabulary": 400,
    "model.max_completion_tokens": 120,
    "list_length": 5,
    "reflect.top": 8,
    "remap.keep": 12,
    "sft.epochs": 3,
    "rank_grpo.steps": 8,
    "rank_grpo.prompts_per_step": 2,
    "rank_grpo.group_size": 2,
    "rank_grpo.learning_rate": 1e-2,
    "rank_grpo.save_every": 2,
    "rank_grpo.eval_every": 0,
    "evaluate.bootstrap": 20,
    "llm.endpoint": "demo",
    "llm.max_concurrency": CONCURRENCY,
    "llm.timeout": 2,
    "llm.max_attempts": 30,
}
"""A demo that trains in seconds and saves often. Rank-GRPO keeps its last weights."""

TIMED = {"metrics.jsonl", "README.md", "report.html"}
"""Files of artifacts that contain dates or durations."""


def set_options(settings: dict[str, Any]) -> list[str]:
    """Settings as options of the command line."""
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in settings.items()}
    return [f"--set={name}={text}" for name, text in texts.items()]


def start(folder: Path, url: str = "", until: str = "") -> subprocess.Popen[bytes]:
    """Start a run in a new process group, with its warehouse in `folder`."""
    settings = TINY | ({"llm.base_url": url} if url else {})
    command = [sys.executable, "-m", "flows.cli", "run", "demo"]
    command += ["--until", until] if until else []
    command += set_options(settings)
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
    environment |= {
        "CONVREC_HOME": str(folder / "home"),
        "PREFECT_HOME": str(folder.parent / "prefect"),
        "OMP_NUM_THREADS": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",  # a busy machine
    }
    folder.mkdir(exist_ok=True)
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def cpu_seconds(process: int) -> float:
    """CPU seconds of a process and its living descendants."""
    spent = 0.0
    try:
        parent = psutil.Process(process)
        for one in (parent, *parent.children(recursive=True)):
            times = one.cpu_times()
            spent += times.user + times.system
    except psutil.NoSuchProcess:
        pass
    return spent


def wait_or_kill(run: subprocess.Popen[bytes], folder: Path, moment: float) -> tuple[bool, float]:
    """Wait until a run ends, or kill its group at a CPU second; return (killed, CPU seconds)."""
    deadline, spent = time.monotonic() + TIMEOUT, 0.0
    try:
        while run.poll() is None and spent < moment:
            if time.monotonic() > deadline:
                raise SystemExit(f"a run took longer than {TIMEOUT:.0f} s:\n{last_output(folder)}")
            time.sleep(0.02)
            spent = max(spent, cpu_seconds(run.pid))
    finally:
        killed = run.poll() is None
        if killed:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    if run.returncode and not killed:
        raise SystemExit(f"a run failed with {run.returncode}:\n{last_output(folder)}")
    return killed, spent


def last_output(folder: Path) -> str:
    """The end of the output of a folder's runs."""
    return (folder / "output.txt").read_text(errors="replace")[-3000:]


def stored_keys(home: Path) -> set[str]:
    """The request keys whose responses are in the warehouse or in the spool."""
    if not (home / "warehouse.duckdb").exists():
        return set()
    with Store(home).read_connection() as connection:
        rows = connection.execute("SELECT request_key FROM llm_answers").fetchall()
    keys = {key for (key,) in rows}
    for segment in (home / "spool").glob("*.jsonl"):
        keys |= {response.key for response in read_segment(segment) if response.response}
    return keys


def differences(expected: Store, actual: Store) -> list[str]:
    """How two warehouses differ: artifacts, their rows, the files of checkpoints."""
    stores = (expected, actual)
    names, other_names = (
        {header.ref.artifact_id for header in store.headers()} for store in stores
    )
    different = [f"{name} is in one of them only" for name in sorted(names ^ other_names)]
    for name in sorted(names & other_names):
        rows, other_rows = (
            # The row of a report is the digest of a file that contains dates.
            store.read(name).drop("sha256", strict=False)
            for store in stores
        )
        if not rows.equals(other_rows):
            different.append(f"{name}: other rows")
        folder, other = (store.folder(name) for store in stores)
        files, other_files = ({path.name for path in one.glob("*")} for one in (folder, other))
        only_in_one = sorted(files ^ other_files)
        different += [f"{name}/{file} is in one of them only" for file in only_in_one]
        different += [
            f"{name}/{file}: other bytes"
            for file in sorted((files & other_files) - TIMED)
            if (folder / file).read_bytes() != (other / file).read_bytes()
        ]
    return different


def draw_moments(rng: random.Random, kills: int) -> list[float]:
    """One moment from each of `kills` equal parts of a run, shuffled; fractions of a run."""
    moments = [(number + rng.random()) / kills for number in range(kills)]
    rng.shuffle(moments)
    return moments


def run_with_kills(
    folder: Path, server: DemoProcess, cpu: float, moments: list[float], until: str
) -> dict[str, Any]:
    """Kill a run at `moments`, fractions of `cpu` seconds, earliest first; then let it complete.

    Moments that were reached are removed from `moments`. If none was, the run was shorter than
    `cpu` seconds, and the estimate `cpu` in the result is lower.
    """
    moments.sort(reverse=True)
    kills: list[str] = []
    sent_again = 0
    while True:
        stored, seen = stored_keys(folder / "home"), len(server.log_lines())
        moment = moments[-1] * cpu if moments else float("inf")
        killed, spent = wait_or_kill(start(folder, server.url, until), folder, moment)
        sent_again += sum(line["key"] in stored for line in server.log_lines()[seen:])
        if not killed:
            break
        moments.pop()
        kills.append(f"{moment:.1f} s: {describe_progress(folder / 'home')}")
        print(f"  killed at CPU second {kills[-1]}", flush=True)
    return {
        "kills": kills,
        "cpu": cpu if kills else min(cpu, 0.95 * spent),
        **count_outcomes(server.log_lines()),
        "sent_again_though_stored": sent_again,
    }


def describe_progress(home: Path) -> str:
    """The last artifact of a killed run, the number of its responses, and its last checkpoint."""
    if not (home / "warehouse.duckdb").exists():
        return "no warehouse yet"
    kinds = [f"{h.ref.stage} {h.ref.kind}" for h in Store(home).headers()]
    steps = sorted(path.name for path in home.glob("training/*/checkpoint-*"))
    responses = f"{len(stored_keys(home))} responses"
    return ", ".join((*kinds[-1:], responses, *steps[-1:]))


def kill_runs(root: Path, kills: int, seed: int, until: str = "") -> dict[str, Any]:
    """Kill runs `kills` times; returns counts, and under `bad` the runs that failed a check."""
    undisturbed = root / "undisturbed"
    _, cpu = wait_or_kill(start(undisturbed, until=until), undisturbed, float("inf"))
    print(f"seed {seed}: an undisturbed run took {cpu:.1f} CPU seconds", flush=True)
    rng = random.Random(seed)
    remaining, rows, bad = draw_moments(rng, kills), [], []
    while remaining:
        moments, remaining = remaining[:KILLS_PER_RUN], remaining[KILLS_PER_RUN:]
        folder = root / f"run-{len(rows)}"
        folder.mkdir()
        server = DemoProcess(folder, FAULTS, seed + len(rows))
        try:
            row = run_with_kills(folder, server, cpu, moments, until)
        finally:
            server.close()
        remaining += moments  # those that were not reached
        cpu = row["cpu"]
        row["differences"] = differences(Store(undisturbed / "home"), Store(folder / "home"))
        rows.append(row)
        if (
            row["differences"]
            or row["sent_again_though_stored"]
            or row["answered_twice"] > CONCURRENCY * len(row["kills"])
        ):
            bad.append(row)
        print(row, flush=True)
    return {
        "seed": seed,
        "cpu_seconds": round(cpu, 1),
        "runs": len(rows),
        "kills": sum(len(row["kills"]) for row in rows),
        "bad": bad,
    }


def main() -> None:
    """Kill runs as the options say, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", default="", help="Last stage to run.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        result = kill_runs(Path(root), options.kills, options.seed, options.until)
    print(json.dumps(result))
    sys.exit(bool(result["bad"]))


if __name__ == "__main__":
    main()
