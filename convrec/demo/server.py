"""An OpenAI-compatible server on this machine, with functions instead of models.

A run on it uses the whole `openai` client path without a key, a network or a cost. A run starts it
with `python -m convrec.demo.server`, which prints its base URL and serves until its standard input
closes. The command for people is `convrec llm serve-demo`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from convrec.artifacts.identity import digest
from convrec.demo import EMBEDDERS, MODELS, complete, embed
from convrec.demo.batch_api import BatchApiState
from convrec.demo.batch_routes import batch_routes
from convrec.demo.faults import Faults, Limits
from convrec.errors import InputError

BodyHandler = Callable[[dict[str, Any]], dict[str, Any]]
"""Request body → response body. Raises ValueError or InputError for an invalid body."""

HOST = "127.0.0.1"
HANG_SECONDS = 600.0
"""How long a request that meets `timeout` waits for a response."""


def create_app(
    complete: BodyHandler,
    models: Collection[str],
    *,
    embed: BodyHandler | None = None,
    embedders: Collection[str] = (),
    faults: Faults | None = None,
    log: IO[str] | None = None,
    state: Path | None = None,
    batch_seconds: float = 2.0,
    limits: Limits | None = None,
) -> Starlette:
    """The web application: `complete` serves `models`, `embed` serves `embedders`.

    `log` gets one JSON line per request: its key (`X-Client-Request-Id`, else the digest of the
    body) and its outcome. `state` is the folder for files and batches, by default a temporary one.
    """
    active_faults = faults or Faults()

    def write_log(row: dict[str, Any]) -> None:
        if log:
            log.write(json.dumps(row) + "\n")
            log.flush()

    def respond(body: Any) -> tuple[int, dict[str, Any]]:
        response = _chat_response(body, complete, models)
        return response.status_code, json.loads(bytes(response.body))

    async def chat(request: Request) -> Response:
        return await handle(request, lambda body: _chat_response(body, complete, models))

    async def embeddings(request: Request) -> Response:
        return await handle(request, lambda body: _embedding_response(body, embed, embedders))

    async def handle(request: Request, make_response: Callable[[Any], Response]) -> Response:
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            return _error(400, "the body is not JSON", code="invalid_json")
        response: Response | None = None
        fault = ""
        if limits and (wait := limits.wait(body)):
            response = _rate_limit_error(wait)
        else:
            fault = active_faults.draw()
            if active_faults.latency_ms:
                await asyncio.sleep(active_faults.latency_ms / 1000)
            response = None if fault else make_response(body)
        key = digest(body)
        row = {"key": request.headers.get("x-client-request-id", key), "body": key}
        write_log({**row, "outcome": fault or str(response.status_code if response else "")})
        response = response or await _fault_response(fault)
        if limits:
            response.headers.update(limits.headers())
        return response

    folder = state or Path(tempfile.gettempdir()) / f"convrec-demo-{secrets.token_hex(8)}"
    batches = BatchApiState(folder, respond, active_faults, batch_seconds, write_log)

    async def list_models(request: Request) -> Response:
        fields = {"object": "model", "created": 0, "owned_by": "convrec"}
        rows = [{"id": name, **fields} for name in (*models, *embedders)]
        return JSONResponse({"object": "list", "data": rows})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/health", health),
            *batch_routes(batches, _fault_response, active_faults.draw),
        ]
    )


def _chat_response(body: Any, complete: BodyHandler, models: Collection[str]) -> Response:
    if error := _model_error(body, models):
        return error
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return _error(400, "messages must be a list that is not empty", param="messages")
    if not all(isinstance(m, dict) and "role" in m and "content" in m for m in messages):
        return _error(400, "each message needs role and content", param="messages")
    if body.get("stream"):
        return _error(400, "streaming is not supported", param="stream")
    try:
        return JSONResponse(complete(body))
    except (ValueError, InputError) as error:
        return _error(400, str(error))


def _embedding_response(
    body: Any, embed: BodyHandler | None, embedders: Collection[str]
) -> Response:
    if embed is None:
        return _error(404, "there are no embeddings here")
    if error := _model_error(body, embedders):
        return error
    try:
        return JSONResponse(embed(body))
    except (ValueError, InputError) as error:
        return _error(400, str(error), param="input")


def _model_error(body: Any, models: Collection[str]) -> Response | None:
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return _error(400, "the body needs a model name", param="model")
    if body["model"] in models:
        return None
    return _error(
        404,
        f"the model {body['model']!r} does not exist; there are {', '.join(models)}",
        code="model_not_found",
        param="model",
    )


def _rate_limit_error(wait: float) -> Response:
    response = _error(429, "rate limit reached", code="rate_limit_exceeded")
    response.headers["retry-after-ms"] = str(round(1000 * wait))
    return response


async def _fault_response(fault: str) -> Response:
    if fault == "429":
        return _rate_limit_error(0.05)
    if fault == "500":
        return _error(500, "internal error", kind="server_error")
    if fault == "timeout":
        await asyncio.sleep(HANG_SECONDS)
    if fault == "drop":
        # The body is shorter than announced, so the connection closes midway.
        return Response(b"{", headers={"content-length": "1000"}, media_type="application/json")
    if fault == "garbage":
        return Response("<html>bad gateway</html>", media_type="text/html")
    if fault == "truncate":
        return Response('{"id": "cut", "choices": [{"mess', media_type="application/json")
    return JSONResponse({"id": "empty", "object": "chat.completion", "choices": []})


def _error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
) -> Response:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status)


# -- serving -----------------------------------------------------------------------------------


def bind(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 means any free port.

    Raises InputError if the port cannot be used.
    """
    # asyncio sets TCP_NODELAY only on sockets whose protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "the highest port is 65535"
        raise InputError(
            f"port {port} cannot be used ({reason}). Choose another, or --port 0 for a free one"
        ) from None
    listener.listen(1024)
    return listener


def base_url(listener: socket.socket) -> str:
    """The base URL for OpenAI clients."""
    return f"http://{HOST}:{listener.getsockname()[1]}/v1"


def create_server(app: Starlette) -> uvicorn.Server:
    """A quiet uvicorn server; `run(sockets=[listener])` serves, `should_exit = True` stops it."""
    options: dict[str, Any] = {"log_level": "critical", "access_log": False, "lifespan": "off"}
    return uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=2, **options))


def demo_app(**options: Any) -> Starlette:
    """The application of the simulated teacher, judge and embedder; options as in `create_app`."""
    return create_app(complete, MODELS, embed=embed, embedders=EMBEDDERS, **options)


def serve(
    port: int, on_ready: Callable[[str], None], *, log: Path | None = None, **options: Any
) -> None:
    """Serve the demo until Ctrl-C. `on_ready` gets the base URL; `options` go to `create_app`."""
    listener = bind(port)
    try:
        file = log.open("a", encoding="utf-8") if log else None
    except OSError as error:
        raise InputError(
            f"{log} cannot be written ({error.strerror}). Choose another file with --log"
        ) from None
    server = create_server(demo_app(log=file, **options))
    on_ready(base_url(listener))
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        if file:
            file.close()


def main() -> None:
    """Serve the demo until standard input closes. The argument is a folder for its batches."""
    listener = bind(0)
    server = create_server(demo_app(state=Path(sys.argv[1]) if sys.argv[1:] else None))

    def stop_at_end_of_input() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    print(base_url(listener), flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
