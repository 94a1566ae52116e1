"""The web application of the endpoint."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from convrec.catalog.versions import PREFIX
from convrec.errors import ConvrecError, InputError
from convrec.serving.endpoint.batcher import Batcher, ClosedError, QueueFullError
from convrec.serving.endpoint.content import (
    JsonPieces,
    TextPieces,
    facts,
    json_text,
    plain_text,
    usage,
)
from convrec.serving.endpoint.engine import Engine, ListAnswer, ListRequest
from convrec.serving.endpoint.item_stream import ItemStream
from convrec.serving.endpoint.measures import Measures
from convrec.serving.endpoint.messages import (
    ApiError,
    ChatRequest,
    Reply,
    conversation,
    parse_request,
)

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

_LOGGER = logging.getLogger("convrec")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """What one server takes.

    Attributes:
        batch: Requests that are answered together.
        window: Seconds that a batch waits for more requests.
        waiting: Requests that may wait; more get status 429.
        body: Bytes of a request.
        seconds: How long a request may take; then it gets status 503.
    """

    batch: int = 16
    window: float = 0.01
    waiting: int = 64
    body: int = 64 * 1024
    seconds: float = 60.0


class Endpoint:
    """The routes of a server with one engine. `key`, if not empty, is asked for by all of /v1."""

    def __init__(self, engine: Engine, limits: Limits, *, key: str = "", threads: int = 1) -> None:
        self.engine = engine
        self._limits = limits
        self._key = key
        size, window = (limits.batch, limits.window) if threads == 1 else (1, 0.0)
        self.batcher = Batcher(
            engine.answer,
            size=size,
            window=window,
            waiting=limits.waiting,
            threads=threads,
            on_batch=lambda size: self.measures.batches.observe(size),
        )
        self.measures = Measures(engine.model, self.batcher.waiting)
        self.note_catalog()

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
                Route("/v1/models", self._guarded(self._models)),
                Route("/v1/models/{model:path}", self._guarded(self._model)),
                Route("/admin/catalog", self._guarded(self._set_catalog), methods=["POST"]),
                Route("/health", self._health),
                Route("/metrics", self._metrics),
            ],
            exception_handlers={HTTPException: _http_error},
        )

    def note_catalog(self, *, is_new: bool = False) -> None:
        """Count a catalog that is used from now on."""
        self.measures.set_catalog(self.engine.catalog.name, len(self.engine.catalog))
        if is_new:
            self.measures.changes.inc()

    # -- routes --------------------------------------------------------------------------------

    async def _chat(self, request: Request) -> Response:
        started = time.monotonic()
        chat = parse_request(await self._body(request))
        if chat.model != self.engine.model:
            raise _unknown_model(chat.model, self.engine.model)
        stream = ItemStream() if chat.stream else None
        future = self._submit(chat, stream)
        if stream is not None:
            future.add_done_callback(stream.finish)
            await self._wait(_observed(future), stream.first)
            return StreamingResponse(
                self._events(chat, stream, future, started), media_type="text/event-stream"
            )
        answer = await self._wait(_observed(future))
        self._count(answer, started)
        content = json_text(answer) if _is_json(chat) else plain_text(answer)
        reply = Reply(self.engine.model)
        return JSONResponse(reply.completion(content, usage(answer), facts(answer)))

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model_entry()]})

    async def _model(self, request: Request) -> Response:
        if request.path_params["model"] != self.engine.model:
            raise _unknown_model(request.path_params["model"], self.engine.model)
        return JSONResponse(self._model_entry())

    async def _set_catalog(self, request: Request) -> Response:
        """Replace the catalog. Without a key only programs on this machine may, not web pages."""
        if not self._key and request.url.hostname not in LOOPBACK_NAMES:
            raise ApiError(403, "without a key, the catalog can be replaced from this machine only")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise ApiError(415, "send the body as application/json")
        try:
            body = json.loads(await self._body(request))
            name = body["catalog"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ApiError(400, 'the body must be {"catalog": "catalog:NAME@VERSION"}') from None
        if not isinstance(name, str) or not name.startswith(PREFIX):
            raise ApiError(400, f"catalog must be a published one, {PREFIX}NAME", param="catalog")
        catalog = await run_in_threadpool(self.engine.use_catalog, name)
        self.note_catalog(is_new=True)
        return JSONResponse({"catalog": catalog.name, "items": len(catalog)})

    async def _health(self, request: Request) -> Response:
        state = {
            "status": "ok",
            "model": self.engine.model,
            "catalog": self.engine.catalog.name,
            "waiting": self.batcher.waiting(),
        }
        return JSONResponse(state)

    async def _metrics(self, request: Request) -> Response:
        return Response(self.measures.text(), media_type="text/plain; version=0.0.4")

    # -- parts of them -------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        """The handler for requests with the key; what it raises becomes OpenAI's errors."""

        async def guarded(request: Request) -> Response:
            try:
                self._check_key(request)
                response = await handler(request)
            except ApiError as error:
                response = _error(error)
            except ConvrecError as error:
                is_refused = isinstance(error, InputError)
                response = _error(ApiError(400 if is_refused else 502, str(error)))
            except Exception as error:
                _LOGGER.exception("a request failed")
                response = _error(ApiError(500, f"the server failed ({type(error).__name__})"))
            if request.url.path.endswith("/completions"):
                self.measures.requests.labels(response.status_code).inc()
            return response

        return guarded

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._key and not hmac.compare_digest(given.encode(), self._key.encode()):
            raise ApiError(401, "a valid key is missing", code="invalid_api_key")

    async def _body(self, request: Request) -> bytes:
        """The body of a request. Raises ApiError as soon as it is too large."""
        found = bytearray()
        async for part in request.stream():
            found += part
            if len(found) > self._limits.body:
                limit = f"{self._limits.body:,} bytes"
                raise ApiError(413, f"the body is larger than {limit}", code="too_large")
        return bytes(found)

    def _submit(self, chat: ChatRequest, stream: ItemStream | None) -> Future[ListAnswer]:
        text = conversation(chat.messages)
        n = chat.list_length or self.engine.list_length
        try:
            return self.batcher.submit(ListRequest(text, n, stream.put if stream else None))
        except QueueFullError:
            raise ApiError(
                429,
                f"{self._limits.waiting} requests wait already; try again",
                code="queue_full",
                retry_after=1,
            ) from None
        except ClosedError:
            raise ApiError(503, "the server is stopping", code="stopping", retry_after=5) from None

    async def _wait(self, *alternatives: asyncio.Future[Any]) -> Any:
        """The result of the first to be done. Raises its error, or ApiError if none is in time."""
        done, late = await asyncio.wait(
            alternatives, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            for future in late:
                future.cancel()
            seconds = f"{self._limits.seconds:g} s"
            raise ApiError(503, f"no list after {seconds}", code="timeout", retry_after=5)
        return next(iter(done)).result()

    async def _events(
        self, chat: ChatRequest, stream: ItemStream, future: Future[ListAnswer], started: float
    ) -> AsyncIterator[str]:
        """The parts of a streamed answer, each item as soon as it is known."""
        reply = Reply(self.engine.model)
        pieces = JsonPieces() if _is_json(chat) else TextPieces()
        try:
            yield _event(reply.chunk({"role": "assistant", "content": pieces.start}))
            async for item in stream:
                yield _event(reply.chunk({"content": pieces.item(item)}))
            answer = future.result()
            self._count(answer, started)
            if end := pieces.end(answer):
                yield _event(reply.chunk({"content": end}))
            yield _event(reply.chunk({}, finish="stop", convrec=facts(answer)))
            if chat.stream_options.include_usage:
                yield _event(reply.usage_chunk(usage(answer)))
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield _event(ApiError(500, f"the list broke off ({type(error).__name__})").body())
        finally:
            future.cancel()  # no effect once it runs

    def _count(self, answer: ListAnswer, started: float) -> None:
        self.measures.seconds.observe(time.monotonic() - started)
        self.measures.tokens.labels("prompt").inc(answer.prompt_tokens)
        self.measures.tokens.labels("list").inc(answer.completion_tokens)

    def _model_entry(self) -> dict[str, Any]:
        entry = {"id": self.engine.model, "object": "model", "created": 0, "owned_by": "convrec"}
        return {**entry, "catalog": self.engine.catalog.name}


def _observed(future: Future[ListAnswer]) -> asyncio.Future[ListAnswer]:
    """The future for the event loop; an error after a timeout is not reported."""
    observed = asyncio.wrap_future(future)
    observed.add_done_callback(lambda done: done.cancelled() or done.exception())
    return observed


def _is_json(chat: ChatRequest) -> bool:
    return chat.response_format.type == "json_object"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _unknown_model(name: str, model: str) -> ApiError:
    shown = name[:100]
    return ApiError(
        404,
        f"the model {shown!r} is not served here; this is {model}",
        code="model_not_found",
        param="model",
    )


def _error(error: ApiError) -> Response:
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    what = f"{request.method} {request.url.path[:100]}"
    texts = {404: f"there is no {what} here", 405: f"{what} is not allowed"}
    return _error(ApiError(status, texts.get(status, "the request failed")))
