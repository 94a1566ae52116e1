"""`kill -9` of whole runs, from ingest to evaluate, at random moments and under request faults.

    python -m tests.chaos.pipeline [--kills 20] [--seed 0] [--until STAGE]

An undisturbed run comes first. Then the process group of the same run is killed, and the same
command given again, up to three times before it may complete; then the next run begins in a fresh
warehouse, until there were so many kills. Each completed run must show:

- the same artifacts: ids, rows, and the bytes of the checkpoints;
- no request sent again whose answer was stored;
- at most `llm.max_concurrency` requests a kill answered twice.

Moments are drawn in CPU seconds of the process group, so that they fall alike on a busy machine,
one from each equal part of an undisturbed run. The last line is JSON; the exit status is 1 where
a check failed. The seed is printed, and the same seed draws the same moments and faults.
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

from benchmarks.chaos_requests import CONCURRENCY, FAULTS, Server, tally
from convrec.artifacts import Store
from convrec.llm.spool import read_segment

ROOT = Path(__file__).resolve().parents[2]
KILLS_A_RUN = 3
PATIENCE = 1800.0
"""Seconds that one run may take on a busy machine."""

TINY: dict[str, Any] = {
    "ingest.contexts": {"train": 24, "validation": 4, "test": 6},
    "model.hidden": 16,
    "model.layers": 1,
    "model.vocabulary": 400,
    "model.max_completion_tokens": 60,
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
"""A demo that trains in seconds and saves often; what RL trained is kept, not the best of it."""

TIMED = {"metrics.jsonl", "README.md", "report.html"}
"""Files of artifacts that hold dates or seconds."""


def given(settings: dict[str, Any]) -> list[str]:
    """Settings as the command line takes them."""
    told = {n: v if isinstance(v, str) else json.dumps(v) for n, v in settings.items()}
    return [f"--set={name}={value}" for name, value in told.items()]


def start(folder: Path, url: str = "", until: str = "") -> subprocess.Popen[bytes]:
    """The run, in a process group of its own, with its warehouse in `folder`."""
    settings = TINY | ({"llm.base_url": url} if url else {})
    command = [sys.executable, "-m", "flows.cli", "run", "demo"]
    command += ["--until", until] if until else []
    command += given(settings)
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
    """What a process and its living descendants have computed so far."""
    spent = 0.0
    try:
        parent = psutil.Process(process)
        for one in (parent, *parent.children(recursive=True)):
            times = one.cpu_times()
            spent += times.user + times.system
    except psutil.NoSuchProcess:
        pass
    return spent


def follow(run: subprocess.Popen[bytes], folder: Path, moment: float) -> tuple[bool, float]:
    """Wait for the end of a run, or kill its group at a CPU second: whether killed, and CPU s."""
    deadline, spent = time.monotonic() + PATIENCE, 0.0
    try:
        while run.poll() is None and spent < moment:
            if time.monotonic() > deadline:
                raise SystemExit(f"a run took longer than {PATIENCE:.0f} s:\n{said(folder)}")
            time.sleep(0.02)
            spent = max(spent, cpu_seconds(run.pid))
    finally:
        killed = run.poll() is None
        if killed:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    if run.returncode and not killed:
        raise SystemExit(f"a run failed with {run.returncode}:\n{said(folder)}")
    return killed, spent


def said(folder: Path) -> str:
    """The last that the runs of a folder have printed."""
    return (folder / "output.txt").read_text(errors="replace")[-3000:]


def stored(home: Path) -> set[str]:
    """The keys whose answers are kept: in the warehouse, or in a spool that is not yet moved."""
    if not (home / "warehouse.duckdb").exists():
        return set()
    with Store(home).read_connection() as connection:
        found = connection.execute("SELECT request_key FROM llm_answers").fetchall()
    keys = {key for (key,) in found}
    for segment in (home / "spool").glob("*.jsonl"):
        keys |= {answer.key for answer in read_segment(segment) if answer.response}
    return keys


def differences(expected: Store, made: Store) -> list[str]:
    """What is not the same in two warehouses: artifacts, their rows, the files of checkpoints."""
    names, made_names = (
        {header.ref.artifact_id for header in store.headers()} for store in (expected, made)
    )
    found = [f"{name} is in one of them only" for name in sorted(names ^ made_names)]
    for name in sorted(names & made_names):
        rows, other_rows = (
            # Of a report the row is a digest of its file, which holds dates.
            store.read(name).drop("sha256", strict=False)
            for store in (expected, made)
        )
        if not rows.equals(other_rows):
            found.append(f"{name}: other rows")
        folder, other = expected.folder(name), made.folder(name)
        files, others = ({path.name for path in one.glob("*")} for one in (folder, other))
        found += [f"{name}/{file} is in one of them only" for file in sorted(files ^ others)]
        found += [
            f"{name}/{file}: other bytes"
            for file in sorted((files & others) - TIMED)
            if (folder / file).read_bytes() != (other / file).read_bytes()
        ]
    return found


def moments(rng: random.Random, kills: int) -> list[float]:
    """One moment from each of `kills` equal parts of a run, shuffled; shares of its CPU seconds."""
    found = [(number + rng.random()) / kills for number in range(kills)]
    rng.shuffle(found)
    return found


def disturbed(
    folder: Path, server: Server, whole: float, when: list[float], until: str
) -> dict[str, Any]:
    """A run that is killed at the moments `when`, earliest first, and then completes.

    Moments that it has come to are taken away from `when`. `whole` of what is returned is smaller
    where it came to none: the run was quicker than the one that the moments are shares of.
    """
    when.sort(reverse=True)
    killed: list[str] = []
    again = 0
    while True:
        kept, seen = stored(folder / "home"), len(server.lines())
        moment = when[-1] * whole if when else float("inf")
        dead, took = follow(start(folder, server.url, until), folder, moment)
        again += sum(line["key"] in kept for line in server.lines()[seen:])
        if not dead:
            break
        when.pop()
        killed.append(f"{moment:.1f} s: {reached(folder / 'home')}")
        print(f"  killed at CPU second {killed[-1]}", flush=True)
    lines = server.lines()
    return {
        "killed": killed,
        "whole": whole if killed else min(whole, 0.95 * took),
        **tally(lines),
        "sent_again_though_stored": again,
    }


def reached(home: Path) -> str:
    """How far a killed run had come: its last artifact, and what it was training."""
    if not (home / "warehouse.duckdb").exists():
        return "no warehouse yet"
    kinds = [f"{h.ref.stage} {h.ref.kind}" for h in Store(home).headers()]
    steps = sorted(path.name for path in home.glob("training/*/checkpoint-*"))
    answers = f"{len(stored(home))} answers"
    return ", ".join((*kinds[-1:], answers, *steps[-1:]))


def chaos(root: Path, kills: int, seed: int, until: str = "") -> dict[str, Any]:
    """All of it: what was seen, and under `bad` what should not have been."""
    calm = root / "calm"
    _, whole = follow(start(calm, until=until), calm, float("inf"))
    print(f"seed {seed}: an undisturbed run took {whole:.1f} CPU seconds", flush=True)
    rng = random.Random(seed)
    left, rows, bad = moments(rng, kills), [], []
    while left:
        when, left = left[:KILLS_A_RUN], left[KILLS_A_RUN:]
        folder = root / f"run-{len(rows)}"
        folder.mkdir()
        server = Server(folder, FAULTS, seed + len(rows))
        try:
            row = disturbed(folder, server, whole, when, until)
        finally:
            server.close()
        left += when  # what it did not come to
        whole = row["whole"]
        row["differences"] = differences(Store(calm / "home"), Store(folder / "home"))
        rows.append(row)
        if (
            row["differences"]
            or row["sent_again_though_stored"]
            or row["answered_twice"] > CONCURRENCY * len(row["killed"])
        ):
            bad.append(row)
        print(row, flush=True)
    return {
        "seed": seed,
        "cpu_seconds": round(whole, 1),
        "runs": len(rows),
        "kills": sum(len(row["killed"]) for row in rows),
        "bad": bad,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", default="", help="Last stage to run.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        result = chaos(Path(root), options.kills, options.seed, options.until)
    print(json.dumps(result))
    sys.exit(bool(result["bad"]))


if __name__ == "__main__":
    main()
