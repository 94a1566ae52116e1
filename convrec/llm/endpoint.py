"""Which endpoint answers: its name in the request keys, its address, and its key.

The name is not the address: the demo's embedded server gets a new port each time and keeps the
name `demo`, so its answers are found again.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from convrec.config import Config
from convrec.config.paths import is_http_url
from convrec.errors import ConfigError, EndpointError

DEFAULT_URL = "https://api.openai.com/v1"
EMBEDDED = "demo"
START_TIMEOUT = 60.0
"""Seconds that the embedded server may take to be healthy."""


def endpoint_name(config: Config) -> str:
    """The endpoint's name in request keys: `llm.endpoint`, else the base URL."""
    return config.llm.endpoint or public_url(_configured_url(config))


@contextlib.contextmanager
def open_endpoint(config: Config, state: Path | None = None) -> Iterator[str]:
    """The base URL to send to; for the endpoint `demo` a server that lives as long as the block.

    That server keeps its files and batches in `state`.

    Raises EndpointError where the embedded server does not start.
    """
    if config.llm.endpoint == EMBEDDED and not config.llm.base_url:
        with _embedded(state) as url:
            yield url
    else:
        yield _configured_url(config)


def api_key(config: Config, base_url: str, given: str = "") -> str:
    """The key given, else that of OPENAI_API_KEY.

    A server on this machine may do without, ours always does. Raises ConfigError where a key is
    needed and missing.
    """
    if config.llm.endpoint == EMBEDDED and not config.llm.base_url:
        return "unused"
    key = (given or os.environ.get("OPENAI_API_KEY", "")).strip()
    if key or is_loopback(base_url):
        return key or "unused"
    raise ConfigError(
        f"{public_url(base_url)} needs a key: set OPENAI_API_KEY in the environment, "
        "or name a Prefect Secret block in llm.secret, or point llm.base_url at your own server"
    )


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def public_url(url: str) -> str:
    """An address without user, password and query, as it may be stored and shown."""
    parts = urlsplit(url)
    return urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")
    )


def _configured_url(config: Config) -> str:
    given = os.environ.get("OPENAI_BASE_URL", "")
    if given and not config.llm.base_url and not is_http_url(given):
        raise ConfigError(
            f"OPENAI_BASE_URL={given} is no address; set it to one as http://127.0.0.1:8000/v1, or "
            "unset it"
        )
    return config.llm.base_url or given or DEFAULT_URL


@contextlib.contextmanager
def _embedded(state: Path | None) -> Iterator[str]:
    """The demo's server as a child in its own session, so that Ctrl-C can drain before it ends.

    It stops when its standard input closes: with the block, and also when this process dies.
    """
    environment = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            [sys.executable, "-m", "convrec.demo.server", *([str(state)] if state else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment,
            start_new_session=True,
        )
        try:
            url = child.stdout.readline().decode().strip() if child.stdout else ""
            if not url or not _healthy(url, child):
                complaints.seek(0)
                last = complaints.read().decode(errors="replace").strip().splitlines()[-1:]
                raise EndpointError(
                    "the embedded LLM server did not start"
                    + (f" ({last[0]})" if last else "")
                    + "; `convrec llm serve-demo` shows why, and llm.base_url names another"
                )
            yield url
        finally:
            _stop(child)


def _healthy(url: str, child: subprocess.Popen[bytes]) -> bool:
    parts = urlsplit(url)
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and child.poll() is None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
