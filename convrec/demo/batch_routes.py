"""HTTP routes of the demo server's Files and Batch APIs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from convrec.demo.batch_api import MAX_BYTES, BatchApiState

Handler = Callable[[Request], Awaitable[Response]]


def batch_routes(
    state: BatchApiState,
    fault_response: Callable[[str], Awaitable[Response]],
    draw_fault: Callable[[], str],
) -> list[Route]:
    """The routes of /v1/files and /v1/batches.

    With a fault of 429 or 500 nothing happens. With any other a POST does its work, and only the
    response is lost.
    """

    async def upload_file(request: Request) -> Response:
        async with request.form(max_part_size=MAX_BYTES) as form:
            upload = form["file"]
            if isinstance(upload, str):
                return Response("a file is needed", status_code=400)
            content = await upload.read()
            file = state.add_file(content, upload.filename or "", str(form["purpose"]))
        state.log({"file": file["id"], "outcome": "uploaded", "filename": file["filename"]})
        return _object_response(file)

    async def list_files(request: Request) -> Response:
        return _page_response(request, state.list_objects("file-"))

    async def get_or_delete_file(request: Request) -> Response:
        file = state.get_object(request.path_params["id"])
        if file and request.method == "DELETE":
            state.delete_file(file["id"])
            return JSONResponse({"id": file["id"], "object": "file", "deleted": True})
        return _object_response(file)

    async def get_content(request: Request) -> Response:
        file = state.get_object(request.path_params["id"])
        return Response(state.read_content(file["id"])) if file else _object_response(None)

    async def create_batch(request: Request) -> Response:
        body = await request.json()
        if state.get_object(str(body.get("input_file_id"))) is None:
            return _object_response(None)
        return _object_response(state.add_batch(body["input_file_id"], body.get("metadata")))

    async def list_batches(request: Request) -> Response:
        batches = [await state.get_batch(batch["id"]) for batch in state.list_objects("batch_")]
        return _page_response(request, [batch for batch in batches if batch])

    async def get_batch(request: Request) -> Response:
        return _object_response(await state.get_batch(request.path_params["id"]))

    async def cancel_batch(request: Request) -> Response:
        return _object_response(await state.cancel_batch(request.path_params["id"]))

    def with_faults(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            fault = draw_fault()
            if fault in ("429", "500"):
                return await fault_response(fault)
            response = await handler(request)
            return await fault_response(fault) if fault else response

        return handle

    return [
        Route("/v1/files", with_faults(upload_file), methods=["POST"]),
        Route("/v1/files", with_faults(list_files)),
        Route("/v1/files/{id}", with_faults(get_or_delete_file), methods=["GET", "DELETE"]),
        Route("/v1/files/{id}/content", with_faults(get_content)),
        Route("/v1/batches", with_faults(create_batch), methods=["POST"]),
        Route("/v1/batches", with_faults(list_batches)),
        Route("/v1/batches/{id}", with_faults(get_batch)),
        Route("/v1/batches/{id}/cancel", with_faults(cancel_batch), methods=["POST"]),
    ]


def _public_fields(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if not name.startswith("_")}


def _object_response(item: dict[str, Any] | None) -> Response:
    if item is None:
        error = {"message": "no such thing", "type": "invalid_request_error", "code": None}
        return JSONResponse({"error": error}, status_code=404)
    return JSONResponse(_public_fields(item))


def _page_response(request: Request, items: list[dict[str, Any]]) -> Response:
    after, limit = request.query_params.get("after"), int(request.query_params.get("limit", "20"))
    purpose = request.query_params.get("purpose")
    items = [item for item in items if purpose in (None, item.get("purpose"))]
    ids = [item["id"] for item in items]
    start = ids.index(after) + 1 if after in ids else 0
    page = items[start : start + limit]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
    has_more = start + limit < len(items)
    data = [_public_fields(item) for item in page]
    return JSONResponse({"object": "list", "data": data, "has_more": has_more, **ends})
