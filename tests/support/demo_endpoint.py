"""Serve an application, such as the demo's teacher and judge, from a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette

from convrec.demo import server


@contextmanager
def serve_in_thread(app: Starlette) -> Iterator[str]:
    """Serve `app` during the block; yields the base URL."""
    listener = server.bind(0)
    running = server.create_server(app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield server.base_url(listener)
    finally:
        running.should_exit = True
        thread.join(10)


@contextmanager
def demo_endpoint() -> Iterator[str]:
    """Serve the demo's models; yields the base URL."""
    with serve_in_thread(server.demo_app()) as url:
        yield url
