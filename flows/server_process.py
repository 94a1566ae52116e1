"""The Prefect server of one run: `python -m flows.server_process FD`.

It serves Prefect's API on the listening socket FD, like the temporary server that Prefect starts,
until its standard input closes: when the run ends it, and also when the run's process is killed.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

import uvicorn

CONNECTION_SECONDS, EXIT_SECONDS = 2, 10
"""Seconds that open connections have to close, and the whole server has to stop."""


def main(listener: socket.socket) -> None:
    """Serve until standard input closes."""
    config = uvicorn.Config(
        "prefect.server.api.server:create_app",
        factory=True,
        lifespan="on",
        log_level="error",
        timeout_graceful_shutdown=CONNECTION_SECONDS,
    )
    server = uvicorn.Server(config)

    def stop_at_end_of_input() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True
        time.sleep(EXIT_SECONDS)
        os._exit(1)

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    server.run(sockets=[listener])


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
