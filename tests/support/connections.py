"""The addresses to which a process and all its children connect, other than this machine's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_HOOK = """
import ipaddress, os, socket, sys

def _is_local(host):
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if not host or host in ("localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or host == "0.0.0.0"
    except ValueError:
        return False

def _watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        with open(os.environ["CONNECTIONS_LOG"], "a") as log:
            log.write(f"{host} {event} {' '.join(sys.argv)[:80]}\\n")

sys.addaudithook(_watch)
with open(os.environ["CONNECTIONS_LOG"] + ".processes", "a") as log:
    log.write(f"{os.getpid()}\\n")
"""

_STRACE = re.compile(r"(?:connect|sendto)\(.*?sin6?_addr[^\"]*\"(?P<host>[^\"]+)\"")


class Connections:
    """Watches the Python processes that get `environment`; with strace, every process.

    `strace` is a command that starts another, empty where there is no strace.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_HOOK)
        self._log, self._trace = folder / "connections.txt", folder / "strace.txt"
        self.environment = {"PYTHONPATH": str(folder), "CONNECTIONS_LOG": str(self._log)}
        program = shutil.which("strace")
        options = ["-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto"]
        options += ["-o", str(self._trace)]
        self.strace = [program, *options] if program else []

    @property
    def processes(self) -> int:
        """The number of Python processes that were watched."""
        log = self._log.with_name(self._log.name + ".processes")
        return len(set(log.read_text().split())) if log.exists() else 0

    def elsewhere(self) -> list[str]:
        """Connections and look-ups of addresses that are not loopback."""
        found = self._log.read_text().splitlines() if self._log.exists() else []
        trace = self._trace.read_text(errors="replace") if self._trace.exists() else ""
        hosts = {match["host"] for match in _STRACE.finditer(trace)}
        return found + sorted(
            host for host in hosts if not host.startswith("127.") and host not in ("::1", "0.0.0.0")
        )
