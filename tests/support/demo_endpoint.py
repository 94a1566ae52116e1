"""The demo's teacher and judge, served from a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from convrec.demo import server


@contextmanager
def demo_endpoint() -> Iterator[str]:
    """Serve the demo's models; yields the base URL."""
    listener = server.bind(0)
    running = server.create_server(server.demo_app())
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield server.base_url(listener)
    running.should_exit = True
    thread.join(10)
