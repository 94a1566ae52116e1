"""Loopback servers that record requests: an LLM endpoint, a Prefect API."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Received = list[tuple[str, dict[str, str], Any]]
"""Method and path, lower-case headers and body of each request, in order.

A body that is not JSON is kept as text.
"""

Reply = tuple[int, Any]
"""HTTP status and body; text is sent unchanged, everything else as JSON."""


def _nothing(path: str, headers: dict[str, str], body: Any) -> Reply:
    return (404 if "csrf" in path else 200), {}


@contextlib.contextmanager
def recorder(
    reply: Callable[[str, dict[str, str], Any], Reply] = _nothing,
) -> Iterator[tuple[str, Received]]:
    """Serve until the block ends; the address, and the requests recorded so far."""
    received: Received = []
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw: Any = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            plain = "json" in (self.headers.get("content-type") or "")
            body = json.loads(raw) if plain and raw else raw
            path = f"{self.command} {self.path}"
            headers = {name.lower(): value for name, value in self.headers.items()}
            with turn:
                received.append((path, headers, body))
                status, answer = reply(path, headers, body)
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_DELETE = do_POST  # noqa: N815 - as http.server looks for them

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the terminal quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", received
        finally:
            server.shutdown()
            thread.join()


class Llm:
    """A rule-based teacher, judge and embedder; a response depends only on its request.

    The judge's first answer about a conversation that contains the word `broken` is unusable. With
    `fails`, the very first request gets a 500.
    """

    def __init__(self, titles: list[str], broken: str, *, fails: bool = True) -> None:
        self.titles, self.broken = titles, broken
        self.met = not fails

    def __call__(self, path: str, headers: dict[str, str], body: Any) -> Reply:
        if not self.met:
            self.met = True
            return 500, {"error": {"message": "internal error", "type": "server_error"}}
        if "input" in body:
            return 200, _embeddings(body)
        said = "\n".join(str(message["content"]) for message in body["messages"])
        shown = re.findall(r"^(\d+)\. ", said.partition("<candidates>")[2], re.MULTILINE)
        if not shown:
            text = "\n".join(f"{n}. {title}" for n, title in enumerate(self._list(said), start=1))
        elif self.broken in said and len(body["messages"]) == 2:
            text = '{"ratings": "all of them are fine"}'
        else:
            rated = [{"candidate": int(n), "rating": int(n) % 5 - 2} for n in shown]
            text = json.dumps({"ratings": rated})
        return 200, _completion(body, text)

    def _list(self, said: str) -> list[str]:
        """Titles in a fixed order; a hash of the conversation selects the first."""
        start = int(_hex(said.partition("<conversation>")[2]), 16) % len(self.titles)
        count = int(next(iter(re.findall(r"exactly (\d+)", said)), "5"))
        return [self.titles[(start + 3 * n) % len(self.titles)] for n in range(count)]


class BatchApi:
    """Files and batches in memory; a batch completes immediately."""

    def __init__(self, llm: Llm) -> None:
        self.llm = llm
        self.names: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    def __call__(self, path: str, headers: dict[str, str], body: Any) -> Reply:
        method, _, url = path.partition(" ")
        what, _, rest = url.removeprefix("/v1/").partition("?")[0].partition("/")
        if what == "files":
            return self._file(method, rest, body)
        if what == "batches":
            return self._batch(method, rest, body)
        return self.llm(path, headers, body)

    def _file(self, method: str, rest: str, body: str) -> Reply:
        name = rest.partition("/")[0]
        if method == "POST":
            made = f"file-{len(self.files)}"
            self.names[made] = re.findall(r'filename="([^"]+)"', body)[0]
            parts = [part for part in body.split("\r\n") if part.startswith('{"custom_id"')]
            self.files[made] = "".join(parts)
            return 200, self._object(made)
        if not rest:
            listed = [self._object(name) for name in self.files]
            return 200, {"object": "list", "data": listed, "has_more": False}
        if method == "DELETE":
            return 200, {"id": name, "object": "file", "deleted": True}
        return 200, self.files[name] if rest.endswith("/content") else self._object(name)

    def _object(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "file",
            "bytes": len(self.files[name]),
            "created_at": 1700000000,
            "filename": self.names[name],
            "purpose": "batch",
            "status": "processed",
        }

    def _batch(self, method: str, rest: str, body: Any) -> Reply:
        if method == "POST":
            lines = map(json.loads, self.files[body["input_file_id"]].splitlines())
            self.files["file-done"] = "".join(map(self._done, lines))
            self.names["file-done"] = "output.jsonl"
            done = {"status": "completed", "output_file_id": "file-done", "created_at": 1700000000}
            self.batches["batch-1"] = {"id": "batch-1", "object": "batch", **body, **done}
        if not rest and method == "GET":
            return 200, {"object": "list", "data": [*self.batches.values()], "has_more": False}
        return 200, self.batches["batch-1"]

    def _done(self, line: dict[str, Any]) -> str:
        _, answer = self.llm("", {}, line["body"])
        response = {"status_code": 200, "request_id": "r", "body": answer}
        done = {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}
        return json.dumps(done) + "\n"


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _completion(body: Any, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": f"chatcmpl-{_hex(json.dumps(body))[:24]}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def _embeddings(body: Any) -> dict[str, Any]:
    rows = []
    for index, text in enumerate(body["input"]):
        numbers = [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]
        packed: Any = base64.b64encode(struct.pack("<8f", *numbers)).decode()
        if body.get("encoding_format") != "base64":
            packed = numbers
        rows.append({"object": "embedding", "index": index, "embedding": packed})
    usage = {"prompt_tokens": 10, "total_tokens": 10}
    return {"object": "list", "model": body["model"], "data": rows, "usage": usage}
