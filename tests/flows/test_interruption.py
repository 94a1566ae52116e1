"""What Ctrl-C does to a process, in a terminal and without Prefect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.interrupted_runs import Terminal

START = """
import sys, time, threading
from pathlib import Path
from flows import interruption as i
i.GRACE = 0.5
done = Path(sys.argv[1])
stop = i.Interruption(drain_seconds=0)
stop.cancel = lambda: done.write_text("cancelled")
stop.start()
"""
END = """
except BaseException as error:
    if not stop.requested:
        raise
    raise stop.finish(error)
"""
"""The work of a run stands between, in a `try`."""

WORK = {
    "python code": "while True: sum(range(1000))",
    "a sleep": "time.sleep(60)",
    "a lock": "threading.Lock().acquire() and threading.Event().wait()",
    "a library that swallows it":
        "while True:\n  try: time.sleep(60)\n  except BaseException: pass",
    "a library that turns it into an error":
        "try: time.sleep(60)\n except BaseException: raise RuntimeError('aborted')",
    "a library that ends by itself": "try: time.sleep(60)\n except BaseException: sys.exit(0)",
    "a library that swallows it, in a run that reports progress":
        "from rich.console import Console\n from flows.console import ConsoleListener\n"
        " shown = ConsoleListener(Console(), stop.check)\n stop._grace = 60\n"
        " try: time.sleep(60)\n except BaseException: pass\n"
        " shown.progress('recommend', 1, 2, '')\n time.sleep(60)",
    "compiled code": "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
    "a child process": "import subprocess; subprocess.run(['sleep', '60'])",
    "a child in its own session":
        "import subprocess; subprocess.run(['sleep', '61'], start_new_session=True)",
    "a child that ignores signals":
        "import subprocess; subprocess.run(['sh', '-c', 'trap \"\" INT TERM; sleep 62; sleep 62'])",
    "a thread that does not end":
        "threading.Thread(target=time.sleep, args=[60]).start()\n time.sleep(60)",
    "a flow run being created": "with stop.shielded():\n  time.sleep(0.2)\n time.sleep(60)",
    "a clean-up that hangs": "try: time.sleep(60)\n finally: time.sleep(60)",
}  # fmt: skip


def interrupted(
    tmp_path: Path, work: str, keys: bytes = b"\x03", number: int = 0
) -> tuple[int | None, float, Terminal]:
    """Run work in a terminal and interrupt it; returns exit code, seconds and the terminal."""
    code = f"{START}print('ready', flush=True)\ntry:\n {work}{END}"
    terminal = Terminal([sys.executable, "-c", code, str(tmp_path / "done")], dict(os.environ))
    assert terminal.wait_for("ready"), terminal.output
    terminal.read(0.1)
    started = time.monotonic()
    if number:
        os.kill(terminal.pid, number)
    else:
        terminal.type(keys)
    while terminal.code() is None and time.monotonic() < started + 30:
        terminal.read(0.02)
    return terminal.code(), time.monotonic() - started, terminal


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_whatever_a_run_does_it_ends_and_is_cancelled(tmp_path: Path, work: str) -> None:
    code, seconds, terminal = interrupted(tmp_path, work)
    children = psutil.Process().children(recursive=True)
    terminal.close()
    assert code == 130, terminal.output
    assert seconds < 10
    assert (tmp_path / "done").read_text() == "cancelled"
    assert not [child for child in children if "sleep" in child.name()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_asks_a_process_to_end_does_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    code, seconds, terminal = interrupted(tmp_path, "time.sleep(60)", number=number)
    terminal.close()
    assert code == 130
    assert seconds < 10
    assert (tmp_path / "done").read_text() == "cancelled"


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    work = "stop._grace = 60\n while True:\n  try: time.sleep(60)\n  except BaseException: pass"
    code = f"{START}print('ready', flush=True)\ntry:\n {work}{END}"
    command = [sys.executable, "-c", code, str(tmp_path / "done")]
    terminal = Terminal(command, dict(os.environ))
    assert terminal.wait_for("ready")
    terminal.type(b"\x03")
    assert terminal.wait_for("Ctrl-C again does not wait")
    terminal.read(0.3)
    assert terminal.code() is None
    started = time.monotonic()
    terminal.type(b"\x03")
    while terminal.code() is None and time.monotonic() < started + 30:
        terminal.read(0.02)
    assert terminal.code() == 130
    assert time.monotonic() - started < 10
    terminal.read(0.5)
    assert "To go on from here: " in terminal.output
    assert (tmp_path / "done").read_text() == "cancelled"
    terminal.close()


def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    work = "stop.cancel = lambda: time.sleep(60)\n time.sleep(60)"
    code, seconds, terminal = interrupted(tmp_path, work)
    terminal.close()
    assert code == 130
    assert seconds < 10


def test_a_completed_run_gives_the_signals_back(tmp_path: Path) -> None:
    code = f"""{START}
import signal
stop.stop()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert signal.set_wakeup_fd(-1) == -1
"""
    command = [sys.executable, "-c", code, str(tmp_path / "done")]
    assert subprocess.run(command, check=False).returncode == 0
    assert not (tmp_path / "done").exists()


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    code = f"""
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
{START}
signal.raise_signal(signal.SIGHUP)
assert not stop.requested
"""
    command = [sys.executable, "-c", code, str(tmp_path / "done")]
    assert subprocess.run(command, check=False).returncode == 0


def test_the_temporary_server_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = """
import time
from flows.server import TemporaryServer
server = TemporaryServer()
print(server.pid, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert owner.stdout is not None
    server = psutil.Process(int(owner.stdout.readline()))
    assert os.getsid(server.pid) != os.getsid(owner.pid)  # no Ctrl-C of the terminal reaches it
    owner.kill()
    owner.wait()
    server.wait(60)
    owner.stdout.close()
