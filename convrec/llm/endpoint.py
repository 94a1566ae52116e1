"""The LLM endpoint: its name in request keys, its base URL, and its API key.

The demo's embedded server gets a new port on each start; by its name its responses are found again.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from convrec.config import Config
from convrec.config.paths import is_http_url
from convrec.errors import ConfigError, EndpointError

DEFAULT_URL = "https://api.openai.com/v1"
EMBEDDED = "demo"
"""Endpoint name for which convrec starts its own server, unless `llm.base_url` is set."""

START_TIMEOUT = 60.0
"""Seconds that the embedded server may take to become healthy."""


def endpoint_name(config: Config) -> str:
    """The endpoint's name in request keys: `llm.endpoint`, else the base URL."""
    return config.llm.endpoint or public_url(configured_url(config))


@contextlib.contextmanager
def open_endpoint(config: Config, state: Path | None = None) -> Iterator[str]:
    """Yield the base URL of the endpoint.

    For the endpoint `demo` this starts a server that lives as long as the block and keeps its
    files and batches in the folder `state`. Raises EndpointError if it does not start.
    """
    if is_embedded(config):
        with _embedded_server(state) as url:
            yield url
    else:
        yield configured_url(config)


def api_key(config: Config, base_url: str, key: str = "") -> str:
    """The API key: `key`, else OPENAI_API_KEY.

    A server on this machine may have none. Raises ConfigError if a key is needed and missing.
    """
    if is_embedded(config):
        return "unused"
    key = (key or os.environ.get("OPENAI_API_KEY", "")).strip()
    if key or is_loopback(base_url):
        return key or "unused"
    raise ConfigError(
        f"{public_url(base_url)} needs an API key. Set OPENAI_API_KEY, name a Prefect Secret block "
        "in llm.secret, or set llm.base_url to a server of your own"
    )


def is_loopback(url: str) -> bool:
    """Whether a URL points to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def public_url(url: str) -> str:
    """A URL without user, password and query, safe to store and show."""
    parts = urlsplit(url)
    return urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")
    )


def is_embedded(config: Config) -> bool:
    """Whether convrec starts the demo's server as the endpoint."""
    return config.llm.endpoint == EMBEDDED and not config.llm.base_url


def configured_url(config: Config) -> str:
    """The base URL: `llm.base_url`, else OPENAI_BASE_URL, else OpenAI's. Raises ConfigError."""
    url = os.environ.get("OPENAI_BASE_URL", "")
    if url and not config.llm.base_url and not is_http_url(url):
        raise ConfigError(
            f"OPENAI_BASE_URL={url} is not a valid URL. Set it to one such as "
            "http://127.0.0.1:8000/v1, or unset it"
        )
    return config.llm.base_url or url or DEFAULT_URL


@contextlib.contextmanager
def _embedded_server(state: Path | None) -> Iterator[str]:
    """The demo server as a child process in its own session, so that Ctrl-C does not reach it.

    The server stops when its standard input closes: at the end of the block, and also when this
    process dies.
    """
    environment = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "convrec.demo.server", *([str(state)] if state else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        try:
            url = child.stdout.readline().decode().strip() if child.stdout else ""
            if not url or not _is_healthy(url):
                stderr.seek(0)
                last_line = stderr.read().decode(errors="replace").strip().splitlines()[-1:]
                reason = f" ({last_line[0]})" if last_line else ""
                raise EndpointError(
                    f"the embedded LLM server did not start{reason}. Run `convrec llm serve-demo` "
                    "to see why, or set llm.base_url to another server"
                )
            yield url
        finally:
            _stop(child)


def _is_healthy(url: str) -> bool:
    """Wait until the server, which listens already, responds; False if it exits or is too slow."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=START_TIMEOUT)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    for stream in filter(None, (child.stdin, child.stdout)):
        stream.close()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
