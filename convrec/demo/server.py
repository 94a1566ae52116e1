"""An OpenAI-compatible chat server on this machine, with a function in place of a model.

It serves the demo's simulated teacher and judge, so that a run uses the whole `openai` client path
without a key, a network or a cost. A response depends on its request alone. For tests it misbehaves
on demand: `Faults` draws, seeded, which requests meet a 429, a 500, a dropped connection, broken
JSON or a response without choices.

`python -m convrec.demo.server` prints its base URL and serves until its standard input closes; this
is how a run starts and stops it. People use `convrec llm serve-demo`.
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
from typing import IO, TYPE_CHECKING, Any

from convrec.artifacts.identity import digest
from convrec.demo.faults import FAULTS, Faults, Limits
from convrec.errors import InputError

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response

__all__ = ["FAULTS", "Faults", "Limits", "create_app", "create_server", "demo_app", "serve"]

BodyHandler = Callable[[dict[str, Any]], dict[str, Any]]

HOST = "127.0.0.1"
HANG_SECONDS = 600.0
"""How long a request that meets `timeout` is left without an answer."""


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
    """The web application around `complete`, which makes a response body of a request body.

    `complete` raises ValueError or InputError for a body that it cannot use; so does `embed`, which
    answers for the models `embedders` where there are any. `log` gets one JSON
    line a request: its key (`X-Client-Request-Id`, else the digest of its body), and what became of
    it. Files and batches live in `state`, by default a temporary folder that the first file makes,
    and a batch takes `batch_seconds`. `limits` are enforced and announced in headers.
    """
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from convrec.demo.batch_api import BatchApiState, routes

    mischief = faults or Faults()

    def write(row: dict[str, Any]) -> None:
        if log:
            log.write(json.dumps(row) + "\n")
            log.flush()

    def answer(body: Any) -> tuple[int, dict[str, Any]]:
        response = _answer(body, complete, models)
        return response.status_code, json.loads(bytes(response.body))

    async def chat(request: HttpRequest) -> Response:
        return await post(request, lambda body: _answer(body, complete, models))

    async def embeddings(request: HttpRequest) -> Response:
        return await post(request, lambda body: _embedded(body, embed, embedders))

    async def post(request: HttpRequest, act: Callable[[Any], Response]) -> Response:
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            return _error(400, "the body is not JSON", code="invalid_json")
        response: Response | None = None
        fault = ""
        if limits and (wait := limits.wait(body)):
            response = _too_fast(wait)
        else:
            fault = mischief.draw()
            if mischief.latency_ms:
                await asyncio.sleep(mischief.latency_ms / 1000)
            response = None if fault else act(body)
        key = digest(body)
        row = {"key": request.headers.get("x-client-request-id", key), "body": key}
        write({**row, "outcome": fault or str(response.status_code if response else "")})
        response = response or await _misbehave(fault)
        if limits:
            response.headers.update(limits.headers())
        return response

    folder = state or Path(tempfile.gettempdir()) / f"convrec-demo-{secrets.token_hex(8)}"
    bureau = BatchApiState(folder, answer, mischief, batch_seconds, write)

    async def list_models(request: HttpRequest) -> Response:
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "convrec"}
            for name in (*models, *embedders)
        ]
        return JSONResponse({"object": "list", "data": rows})

    async def health(request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/health", health),
            *routes(bureau, _misbehave, mischief.draw),
        ]
    )


def _too_fast(wait: float) -> Response:
    response = _error(429, "rate limit reached", code="rate_limit_exceeded")
    response.headers["retry-after-ms"] = str(round(1000 * wait))
    return response


def _unknown_model(body: Any, models: Collection[str]) -> Response | None:
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


def _embedded(body: Any, embed: BodyHandler | None, models: Collection[str]) -> Response:
    from starlette.responses import JSONResponse

    if embed is None:
        return _error(404, "there are no embeddings here")
    if refused := _unknown_model(body, models):
        return refused
    try:
        return JSONResponse(embed(body))
    except (ValueError, InputError) as error:
        return _error(400, str(error), param="input")


def _answer(body: Any, complete: BodyHandler, models: Collection[str]) -> Response:
    from starlette.responses import JSONResponse

    if refused := _unknown_model(body, models):
        return refused
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


async def _misbehave(fault: str) -> Response:
    from starlette.responses import JSONResponse, Response

    if fault == "429":
        response = _error(429, "rate limit reached", code="rate_limit_exceeded")
        response.headers["retry-after-ms"] = "50"
        return response
    if fault == "500":
        return _error(500, "internal error", kind="server_error")
    if fault == "timeout":
        await asyncio.sleep(HANG_SECONDS)
    if fault == "drop":
        # A body shorter than announced: the connection is closed in the middle.
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
    from starlette.responses import JSONResponse

    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status)


# -- serving -----------------------------------------------------------------------------------


def bind(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one. Raises InputError if it is taken."""
    # With its protocol named, asyncio switches Nagle off: answers leave at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "ports go up to 65535"
        raise InputError(
            f"port {port} cannot be used ({reason}); give another, or --port 0 for a free one"
        ) from None
    listener.listen(1024)
    return listener


def base_url(listener: socket.socket) -> str:
    """The address that OpenAI clients take as their base URL."""
    return f"http://{HOST}:{listener.getsockname()[1]}/v1"


def create_server(app: Starlette) -> uvicorn.Server:
    """A quiet uvicorn server; `run(sockets=[listener])` serves, `should_exit` ends it."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
    )


def demo_app(
    *,
    faults: Faults | None = None,
    log: IO[str] | None = None,
    state: Path | None = None,
    batch_seconds: float = 2.0,
    limits: Limits | None = None,
) -> Starlette:
    """The demo's simulated teacher, judge and embedder; the options are those of `create_app`."""
    from convrec.demo import EMBEDDERS, MODELS, complete, embed

    return create_app(
        complete,
        MODELS,
        embed=embed,
        embedders=EMBEDDERS,
        faults=faults,
        log=log,
        state=state,
        batch_seconds=batch_seconds,
        limits=limits,
    )


def main() -> None:
    """Serve the demo until standard input closes; the argument is a folder for its batches."""
    listener = bind(0)
    running = create_server(demo_app(state=Path(sys.argv[1]) if sys.argv[1:] else None))

    def watch() -> None:
        sys.stdin.buffer.read()
        running.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    print(base_url(listener), flush=True)
    running.run(sockets=[listener])


def serve(
    port: int, ready: Callable[[str], None], *, log: Path | None = None, **options: Any
) -> None:
    """Serve the demo until Ctrl-C; `ready` is told the base URL, `options` go to `demo_app`."""
    listener = bind(port)
    try:
        file = log.open("a", encoding="utf-8") if log else None
    except OSError as error:
        raise InputError(
            f"{log} cannot be written ({error.strerror}); give --log another file"
        ) from None
    running = create_server(demo_app(log=file, **options))
    ready(base_url(listener))
    try:
        running.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        if file:
            file.close()


if __name__ == "__main__":
    main()
