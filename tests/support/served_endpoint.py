"""An endpoint in a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from convrec.serving.endpoint.app import Endpoint
from convrec.serving.endpoint.server import create_server, listen


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[str]:
    """Serve on a free port of loopback; gives the address without /v1."""
    listener = listen("127.0.0.1", 0)
    server = create_server(endpoint)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        endpoint.batcher.close()
