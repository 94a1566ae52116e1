"""Serve an endpoint until the process gets a signal to stop."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from convrec.errors import InputError
from convrec.serving.endpoint.app import LOOPBACK_NAMES, Endpoint

FOLLOW_SECONDS = 5.0
"""Seconds between two looks for a newer version of the catalog."""

_STOP_SECONDS = 30
_LOGGER = logging.getLogger("convrec")


def check_host(host: str, key: str) -> None:
    """Raise InputError if anyone on the network could use the server."""
    if host not in LOOPBACK_NAMES and not key:
        raise InputError(
            f"--host {host} would serve everyone on the network; set CONVREC_SERVE_KEY to a key "
            "that clients must send, or leave --host at 127.0.0.1"
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 means any free port. Raises InputError if it cannot be used."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{host}:{port} cannot be used ({error}); choose another --host or --port, or --port 0 "
            "for a free one"
        ) from None
    listener.listen(1024)
    return listener


def serve(endpoint: Endpoint, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Answer requests until SIGINT or SIGTERM; requests in flight are finished first."""
    stopped = threading.Event()
    follower = threading.Thread(target=_follow, args=(endpoint, stopped), daemon=True)
    server = create_server(endpoint)
    on_ready()
    follower.start()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn has stopped and passes the signal on
        pass
    finally:
        stopped.set()
        endpoint.batcher.close()


def create_server(endpoint: Endpoint) -> uvicorn.Server:
    """The server; `run(sockets=[listener])` serves, `should_exit = True` stops it."""
    options: dict[str, Any] = {"log_level": "error", "access_log": False, "lifespan": "off"}
    config = uvicorn.Config(
        endpoint.app(), timeout_graceful_shutdown=_STOP_SECONDS, server_header=False, **options
    )
    return uvicorn.Server(config)


def _follow(endpoint: Endpoint, stopped: threading.Event) -> None:
    """Use each newer version of a catalog that is named without a version."""
    warned = False
    while not stopped.wait(FOLLOW_SECONDS):
        try:
            if endpoint.engine.follow():
                endpoint.note_catalog(is_new=True)
            warned = False
        except Exception as error:  # a locked warehouse, or a version that is too small
            if not warned:
                _LOGGER.warning("the catalog stays as it is: %s", error)
            warned = True
