"""Which Prefect server a command talks to, and the temporary server of `convrec run`.

The server is PREFECT_API_URL, from the environment or from the Prefect profile in use. If neither
names one, `prefect`, `make deploy` and `make worker` use the server of `make ui`, whose address is
in prefect.toml, and `convrec run` starts a server of its own on the same database.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import suppress
from pathlib import Path

from convrec.errors import ConfigError, ConvrecError
from convrec.utils.project import IS_CLONE, ROOT

API_URL = "PREFECT_API_URL"
STARTUP_TIMEOUT = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
"""Settings of Prefect in the environment."""

UI_COMMAND = "make ui" if IS_CLONE else "convrec ui"
WORKER_COMMAND = "make worker" if IS_CLONE else "prefect worker start --pool local"
"""What starts the Prefect server that stays, and a worker."""

SERVER = Path(__file__).with_name("server_process.py")
POLL_SECONDS = 0.1


def profile_url() -> str:
    """The server that the Prefect profile in use names; empty if it names none."""
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    file = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
        name = os.environ.get("PREFECT_PROFILE") or profiles["active"]
        return str(profiles["profiles"][name].get(API_URL, ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def shared_url() -> str:
    """The server of `make deploy`, `make worker` and of `prefect` in this folder.

    Raises ConfigError if the Prefect profile in use names another one than prefect.toml: commands
    would go to both.
    """
    if url := os.environ.get(API_URL):
        return url
    text = (ROOT / "prefect.toml").read_text(encoding="utf-8")
    url = str(tomllib.loads(text)["api"]["url"])
    if (other := profile_url()) and other.rstrip("/") != url.rstrip("/"):
        raise ConfigError(
            f"the Prefect profile in use names the server {other}, but prefect.toml in this folder "
            f"names {url}, which `prefect` uses here; choose one: export {API_URL}={other}, or "
            f"export {API_URL}={url}"
        )
    return url


class TemporaryServer:
    """A Prefect server for one run, in a session of its own, so that Ctrl-C does not reach it.

    It uses the database of PREFECT_HOME, like the server of `make ui`. It ends when this process
    ends, however that happens.
    """

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server
        port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api"
        environment = {
            **os.environ,
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
        }
        self._process = subprocess.Popen(
            # By its path, and without its folder on the import path: a team's own package `flows`
            # in the current folder is not imported instead.
            [sys.executable, "-P", str(SERVER), str(listener.fileno())],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()  # the server has it

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def wait_until_healthy(self) -> None:
        """Return once the server answers. Raises ConvrecError if it does not start."""
        import httpx

        seconds = float(os.environ.get(STARTUP_TIMEOUT, "120"))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ConvrecError(
                    "the Prefect server that a run starts for itself did not start "
                    f"({self._last_error()}); run `{UI_COMMAND}` to see why"
                )
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=5, trust_env=False).is_success:
                    return
            time.sleep(POLL_SECONDS)
        raise ConvrecError(
            f"the Prefect server that a run starts for itself did not answer within {seconds:g} s; "
            f"this machine is very busy, so try again, or start one (`{UI_COMMAND}`) and set "
            f"{API_URL}"
        )

    def stop(self, seconds: float) -> None:
        """End the server; it may take `seconds` to store what it has."""
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"
