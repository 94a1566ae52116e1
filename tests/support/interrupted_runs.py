"""Ctrl-C in a terminal at random moments of every stage of a run.

    python -m tests.support.interrupted_runs [--tries 20] [--seed 0] [--server] [--signal SIGTERM]
        [--folder FOLDER]

Each try runs the tiny demo in a terminal of its own (a pty), against an endpoint that takes a
moment to answer, and types Ctrl-C once: while Python and Prefect start, or at a random moment of
one of the stages. A try is good if the process ends with exit code 130 within 5 seconds, its flow
run is cancelled, no process is left, and every answer that the endpoint gave is stored. At last
the run is completed. With `--server` the runs use a server (PREFECT_API_URL) and otherwise start
their own. `--signal` sends a signal to the process instead of Ctrl-C.

It prints a table, and as its last line JSON; the exit status is 1 if a try was bad.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from convrec.artifacts import Store
from convrec.config import ROOT
from convrec.llm.response_store import ResponseStore
from tests.support.demo_process import DemoProcess
from tests.support.killed_runs import TINY, set_options, stored_keys
from tests.support.servers import free_port

CTRL_C = b"\x03"
SECONDS = 5.0
"""Seconds in which an interrupted run must end."""

_ARTIFACT_LINE = re.compile(r"\b(?:2K)?([a-z_]+ +[a-z_]+) +(?:completed|cached) ")

TIMEOUT = 600.0
LEFTOVER_SECONDS = 3.0
"""Seconds that child processes have to notice the end of the run."""


@dataclass(frozen=True)
class Moment:
    """When to interrupt: up to `seconds` after the terminal shows `line`.

    Without a line, after the first code of convrec runs; before, Python itself has not started.
    `built` is the last stage that the warehouse has when the run starts.
    """

    name: str
    built: str
    line: str
    seconds: float


MOMENTS = (
    Moment("imports", "", "", 1.0),
    Moment("prefect starts", "", "", 9.0),
    Moment("ingest", "", "ingest     catalog", 0.8),
    Moment("recommend", "ingest", "ingest     quarantine", 5.0),
    Moment("remap", "recommend", "recommend  teacher_lists", 2.0),
    Moment("reflect", "recommend", "remap      candidates", 5.0),
    Moment("sft", "adjust", "adjust     demonstrations", 8.0),
    Moment("rank_grpo", "sft", "sft        checkpoint", 4.0),
    Moment("evaluate", "rank_grpo", "rank_grpo  checkpoint", 2.0),
    Moment("accelerate", "adjust", "adjust     demonstrations", 12.0),
)
"""One line each; a random part of `seconds` is waited."""

SETTINGS: dict[str, dict[str, Any]] = {"accelerate": {"train.launcher": "accelerate"}}


@dataclass
class Try:
    """What became of one interrupted run."""

    moment: str
    delay: float
    last_line: str = ""
    code: int | None = None
    seconds: float = 0.0
    states: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    lost: int = 0

    @property
    def is_good(self) -> bool:
        """Whether it ended as it should. A run that Prefect has not heard of has no state."""
        return (
            self.code == 130
            and self.seconds <= SECONDS
            and set(self.states) <= {"CANCELLED"}
            and not self.left_over
            and not self.lost
        )


class Terminal:
    """A process in a terminal of its own, of which it is the foreground process group."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.output = ""
        self.pid, self._master = pty.fork()
        if not self.pid:  # pragma: no cover
            os.chdir(ROOT)
            os.execve(command[0], command, environment)
        self._status: int | None = None

    def read(self, seconds: float) -> None:
        """Read what is shown for some seconds."""
        deadline = time.monotonic() + seconds
        while (rest := deadline - time.monotonic()) > 0:
            if not select.select([self._master], [], [], min(rest, 0.05))[0]:
                if self.code() is not None:
                    return
                continue
            try:
                text = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                text = b""
            if not text:
                time.sleep(0.02)
                if self.code() is not None:
                    return
            self.output += text.decode(errors="replace")

    def wait_for(self, line: str) -> bool:
        """Read until a line is shown; False if the process ends before."""
        deadline = time.monotonic() + TIMEOUT
        while line not in self.output:
            assert time.monotonic() < deadline, self.output
            if self.code() is not None:
                return False
            self.read(0.05)
        return True

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self._master, keys)

    def code(self) -> int | None:
        """The exit code as a shell shows it; None while the process runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return 128 - self._status if self._status is not None and self._status < 0 else self._status

    def close(self) -> None:
        """Close the terminal; a process that still runs is killed."""
        if self.code() is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)


class Place:
    """A folder with a warehouse, a Prefect home and an endpoint."""

    def __init__(self, folder: Path, endpoint: str = "", api: str = "") -> None:
        self.home, self.prefect, self.endpoint = folder / "home", folder / "prefect", endpoint
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")} | {
            "CONVREC_HOME": str(self.home),
            "PREFECT_HOME": str(self.prefect),
            "OMP_NUM_THREADS": "1",
            "TERM": "xterm",
            "COLUMNS": "200",
        }
        self.environment |= {"PREFECT_API_URL": api} if api else {}

    def run(self, until: str = "", settings: dict[str, Any] | None = None) -> Terminal:
        """Start the tiny demo in a terminal."""
        address = {"llm.base_url": self.endpoint} if self.endpoint else {}
        command = [sys.executable, "-m", "flows", "run", "demo"]
        command += ["--until", until] if until else []
        options = set_options(TINY | {"llm.timeout": 30} | address | (settings or {}))
        return Terminal(command + options, self.environment)

    def run_states(self) -> list[str]:
        """The states of the flow runs in Prefect's database, oldest first."""
        file = self.prefect / "prefect.db"
        if not file.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            try:
                rows = database.execute("SELECT state_type FROM flow_run ORDER BY created")
                return [str(state) for (state,) in rows.fetchall()]
            except sqlite3.OperationalError:  # no table yet
                return []

    def processes(self) -> list[str]:
        """The processes that have this warehouse in their environment, other than a server's."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("CONVREC_HOME") == str(self.home):
                    found.append(" ".join(process.cmdline())[:120])
        return found


def interrupt(place: Place, moment: Moment, delay: float, number: int = 0) -> Try:
    """Run, interrupt at a moment, and see what became of it. `number` is a signal, 0 is Ctrl-C."""
    before = len(place.run_states())
    result = Try(moment.name, delay)
    terminal = place.run(settings=SETTINGS.get(moment.name))
    try:
        if not moment.line:
            wait_for_convrec(terminal.pid)
        if not moment.line or terminal.wait_for(moment.line):
            terminal.read(delay)
        result.last_line = (_ARTIFACT_LINE.findall(terminal.output) or [""])[-1]
        started = time.monotonic()
        if number:
            os.kill(terminal.pid, number)
        else:
            terminal.type(CTRL_C)
        while terminal.code() is None and time.monotonic() - started < 60:
            terminal.read(0.02)
        result.seconds = round(time.monotonic() - started, 2)
        result.code = terminal.code()
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while place.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        result.left_over = place.processes()
        result.states = place.run_states()[before:]
    finally:
        terminal.close()
    if not result.is_good:
        print(terminal.output[-3000:], file=sys.stderr)
    return result


def wait_for_convrec(pid: int) -> None:
    """Return once a process handles SIGINT as `flows/__main__.py` says.

    Python's own handler is there before; the first import of convrec's is `select`.
    """
    while "/select." not in Path(f"/proc/{pid}/maps").read_text():
        time.sleep(0.001)


def complete(place: Place, until: str = "") -> None:
    """Run to the end. Raises if that fails."""
    terminal = place.run(until)
    try:
        while terminal.code() is None:
            terminal.read(0.2)
        assert terminal.code() == 0, terminal.output
    finally:
        terminal.close()


@contextlib.contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """A Prefect server on the database of a folder; yields its address."""
    port = free_port()
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(folder / "prefect")}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(
        command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + TIMEOUT
        while not is_healthy(url):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def is_healthy(url: str) -> bool:
    """Whether a Prefect server answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
        return True
    return False


def interrupt_runs(
    root: Path, tries: int, seed: int, *, with_server: bool = False, number: int = 0
) -> list[Try]:
    """Interrupt runs `tries` times, at every kind of moment in turn."""
    rng = random.Random(seed)
    place_folder = root / "place"
    place_folder.mkdir(parents=True, exist_ok=True)
    endpoint = DemoProcess(place_folder, "", seed, latency_ms=300)
    results = []
    with contextlib.ExitStack() as stack:
        stack.callback(endpoint.close)
        api = stack.enter_context(prefect_server(place_folder)) if with_server else ""
        place = Place(place_folder, endpoint.url, api)
        built = root / "built"
        for until in ("ingest", "recommend", "adjust", "sft", "rank_grpo"):
            if not (built / until).exists():
                complete(place, until)
                shutil.copytree(place.home, built / until)
        for turn in range(tries):
            moment = MOMENTS[turn % len(MOMENTS)]
            shutil.rmtree(place.home, ignore_errors=True)
            if moment.built:
                shutil.copytree(built / moment.built, place.home)
            answered = {line["key"] for line in endpoint.log_lines()}
            stored = stored_keys(place.home)
            result = interrupt(place, moment, round(rng.uniform(0, moment.seconds), 2), number)
            new = {line["key"] for line in endpoint.log_lines()} - answered
            if (place.home / "warehouse.duckdb").exists():
                ResponseStore(Store(place.home)).recover()
            result.lost = len(new - stored - stored_keys(place.home))
            results.append(result)
            print_row(result)
        complete(place)
    return results


def print_row(result: Try) -> None:
    """One line of the table."""
    good = "good" if result.is_good else "BAD"
    print(
        f"{result.moment:<15} {result.delay:>5.2f} s  {result.last_line:<27} "
        f"exit {result.code!s:>4}  {result.seconds:>5.2f} s  {','.join(result.states) or '-':<10} "
        f"{result.lost} lost  {'; '.join(result.left_over)}  {good}",
        flush=True,
    )


def main() -> None:
    """Interrupt runs as the options say, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", action="store_true", help="Use a server (PREFECT_API_URL).")
    parser.add_argument("--signal", default="", help="A signal such as SIGTERM, not Ctrl-C.")
    parser.add_argument("--folder", type=Path, help="Keep the warehouses there, and reuse them.")
    options = parser.parse_args()
    number = signal.Signals[options.signal] if options.signal else 0
    print(
        "interrupted in, after, last artifact, exit code, seconds, state, answers lost, left over"
    )
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        results = interrupt_runs(
            root, options.tries, options.seed, with_server=options.server, number=number
        )
    load = os.getloadavg()[0]
    good = sum(result.is_good for result in results)
    slowest = max(result.seconds for result in results)
    print(f"{good} of {len(results)} good, slowest {slowest:.2f} s, load {load:.1f}")
    print(json.dumps([asdict(result) for result in results]))
    sys.exit(good < len(results))


if __name__ == "__main__":
    main()
