"""The demo server's Files and Batches: what the OpenAI API offers, on a folder.

Every file and batch is written whole under a temporary name and renamed, so a server that was
killed and started again on the same folder knows them all. How far a batch is follows from the
clock: it ends `seconds` after it was made. Its lines are worked on once, when first looked at then.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.utils.files import atomic_path

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from convrec.demo.faults import Faults

Respond = Callable[[Any], tuple[int, dict[str, Any]]]
"""Request body → HTTP status and response body."""

Handler = Callable[["Request"], Awaitable["Response"]]

MAX_REQUESTS, MAX_BYTES = 50_000, 200_000_000
URL = "/v1/chat/completions"
PARTIAL_FAULTS = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
"""Faults in which a batch ends with about half of its lines done."""


@dataclass
class BatchApiState:
    """Files and batches in one folder, which the first file makes."""

    folder: Path
    answer: Respond
    faults: Faults
    seconds: float
    log: Callable[[dict[str, Any]], None]

    def __post_init__(self) -> None:
        self._turn = asyncio.Lock()

    # -- files ---------------------------------------------------------------------------------

    def add_file(self, content: bytes, name: str, purpose: str = "batch") -> dict[str, Any]:
        """Keep a file; its object as the API shows it."""
        made = {
            "id": f"file-{secrets.token_hex(12)}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        _write(self.folder / f"{made['id']}.content", content)
        self._save(made)
        return made

    def things(self, kind: str) -> list[dict[str, Any]]:
        """Every file or batch object, newest first."""
        found = [json.loads(p.read_text()) for p in self.folder.glob(f"{kind}*.json")]
        return sorted(found, key=lambda thing: (-thing["created_at"], thing["id"]))

    def thing(self, name: str) -> dict[str, Any] | None:
        """One file or batch object."""
        path = self.folder / f"{Path(name).name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def content(self, file_id: str) -> bytes:
        """What is in a file."""
        return (self.folder / f"{Path(file_id).name}.content").read_bytes()

    def delete(self, file_id: str) -> None:
        """Remove a file."""
        for suffix in ("json", "content"):
            (self.folder / f"{Path(file_id).name}.{suffix}").unlink(missing_ok=True)

    # -- batches -------------------------------------------------------------------------------

    def add_batch(self, file_id: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        """Begin a batch; its object."""
        now = int(time.time())
        batch = {
            "id": f"batch_{secrets.token_hex(12)}",
            "object": "batch",
            "endpoint": URL,
            "errors": None,
            "input_file_id": file_id,
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "expires_at": now + 86_400,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": dict(metadata or {}),
            "_started": time.time(),
            "_fault": self.faults.draw_batch(),
            "_seed": self.faults.draw_seed(),
        }
        self._save(batch)
        lines = self.content(file_id).count(b"\n")
        self.log({"batch": batch["id"], "outcome": "created", "requests": lines})
        return batch

    async def look(self, batch_id: str) -> dict[str, Any] | None:
        """A batch as it stands now; one whose time has come is worked on first."""
        async with self._turn:
            batch = self.thing(batch_id)
            if batch is None or batch["status"] not in ("validating", "in_progress", "cancelling"):
                return batch
            batch = await asyncio.to_thread(self._advance, batch)
            self._save(batch)
            return batch

    async def cancel(self, batch_id: str) -> dict[str, Any] | None:
        """Ask a batch to end; the lines that its time allowed are done."""
        batch = await self.look(batch_id)
        if batch and batch["status"] in ("validating", "in_progress"):
            batch |= {"status": "cancelling", "_fault": "batch_cancelled", "_started": 0}
            self._save(batch)
        return batch

    def _advance(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines, errors = _validated(self.content(batch["input_file_id"]))
        if batch["_fault"] == "batch_failed":
            errors = [_trouble("token_limit_exceeded", "Enqueued token limit reached.")]
        if not errors:
            errors = self._unknown_model(lines)
        now = int(time.time())
        if errors:
            data = {"object": "list", "data": errors}
            return batch | {"status": "failed", "failed_at": now, "errors": data}
        share = (time.time() - batch["_started"]) / self.seconds if self.seconds else 1.0
        if share < 1:
            done = int(share * len(lines))
            counts = {"total": len(lines), "completed": done, "failed": 0}
            return batch | {"status": "in_progress", "request_counts": counts}
        return batch | self._done(batch, lines, now)

    def _unknown_model(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        status, body = self.answer(lines[0]["body"])
        if status != 404:
            return []
        return [_trouble("model_not_found", str(body["error"]["message"]))]

    def _done(self, batch: dict[str, Any], lines: list[dict[str, Any]], now: int) -> dict[str, Any]:
        """What a batch is once all its lines were worked on, in no particular order."""
        rng = random.Random(batch["_seed"])
        rng.shuffle(lines)
        status = PARTIAL_FAULTS.get(batch["_fault"], "completed")
        upto = len(lines) if status == "completed" else (len(lines) + 1) // 2
        output: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            late = f"batch_{status}" if number >= upto else ""
            fault = "" if late else self.faults.draw_from(rng)
            row = self._row(line, fault, late)
            self.log({"key": line["custom_id"], "outcome": _outcome(row), "batch": batch["id"]})
            if row is not None:
                good = row["response"] and row["response"]["status_code"] == 200
                (output if good else refused).append(row)
        moment = {"completed": "completed_at", "expired": "expired_at"}.get(status, "cancelled_at")
        return {
            "status": status,
            moment: now,
            "output_file_id": self._result(output, "output"),
            "error_file_id": self._result(refused, "error"),
            "request_counts": {
                "total": len(lines),
                "completed": len(output),
                "failed": len(lines) - len(output),
            },
        }

    def _row(self, line: dict[str, Any], fault: str, late: str) -> dict[str, Any] | None:
        """A line of the output or error file; None for one that is lost."""
        row = {"id": f"batch_req_{secrets.token_hex(8)}", "custom_id": line["custom_id"]}
        if late:
            error = {"code": late, "message": "This request could not be executed in time."}
            return {**row, "response": None, "error": error}
        if fault in ("drop", "timeout"):
            return None
        if fault in ("429", "500"):
            status = int(fault)
            body: dict[str, Any] = {"error": {"message": "try again", "code": None}}
        elif fault:
            status, body = 200, {"id": "empty", "object": "chat.completion", "choices": []}
        else:
            status, body = self.answer(line["body"])
        response = {"status_code": status, "request_id": row["id"], "body": body}
        return {**row, "response": response, "error": None}

    def _result(self, rows: list[dict[str, Any]], name: str) -> str | None:
        if not rows:
            return None
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return str(self.add_file(text.encode(), f"{name}.jsonl", "batch_output")["id"])

    def _save(self, thing: dict[str, Any]) -> None:
        _write(self.folder / f"{thing['id']}.json", json.dumps(thing).encode())


def _validated(content: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(the lines of an input file, what is wrong with them)."""
    lines: list[dict[str, Any]] = []
    seen: set[str] = set()
    if len(content) > MAX_BYTES:
        return [], [_trouble("file_too_large", "The file is larger than 200 MB.")]
    for number, text in enumerate(filter(None, content.split(b"\n")), start=1):
        try:
            line = json.loads(text)
            name, model = line["custom_id"], line["body"]["model"]
            good = (line["method"], line["url"]) == ("POST", URL)
        except (ValueError, RecursionError, KeyError, TypeError):
            good = False
        if not good:
            return [], [_trouble("invalid_json_line", "This line is no request.", number)]
        if name in seen:
            return [], [_trouble("duplicate_custom_id", "The custom_id occurs twice.", number)]
        if lines and model != lines[0]["body"]["model"]:
            return [], [_trouble("mismatched_model", "A batch has one model.", number)]
        seen.add(name)
        lines.append(line)
    if not lines or len(lines) > MAX_REQUESTS:
        return [], [_trouble("invalid_file", "A batch has 1 to 50,000 requests.")]
    return lines, []


def _trouble(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": None}


def _outcome(row: dict[str, Any] | None) -> str:
    if row is None:
        return "lost"
    return str(row["response"]["status_code"] if row["response"] else row["error"]["code"])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_path(path) as part:
        part.write_bytes(content)


# -- routes ------------------------------------------------------------------------------------


def routes(
    bureau: BatchApiState, misbehave: Callable[[str], Awaitable[Response]], drawn: Callable[[], str]
) -> list[Route]:
    """The routes of /v1/files and /v1/batches.

    `drawn` gives the fault that a call meets. After 429 and 500 nothing has happened; after any
    other fault a POST has done its work, and only the answer is lost.
    """
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def shown(thing: dict[str, Any] | None) -> Response:
        if thing is None:
            error = {"message": "no such thing", "type": "invalid_request_error", "code": None}
            return JSONResponse({"error": error}, status_code=404)
        return JSONResponse({k: v for k, v in thing.items() if not k.startswith("_")})

    def page(request: Request, things: list[dict[str, Any]]) -> Response:
        after, limit = request.query_params.get("after"), request.query_params.get("limit", "20")
        purpose = request.query_params.get("purpose")
        things = [thing for thing in things if purpose in (None, thing.get("purpose"))]
        names = [thing["id"] for thing in things]
        first = names.index(after) + 1 if after in names else 0
        some = things[first : first + int(limit)]
        data = [{k: v for k, v in thing.items() if not k.startswith("_")} for thing in some]
        more = first + int(limit) < len(things)
        ends = {"first_id": some[0]["id"], "last_id": some[-1]["id"]} if some else {}
        return JSONResponse({"object": "list", "data": data, "has_more": more, **ends})

    async def upload(request: Request) -> Response:
        async with request.form(max_part_size=MAX_BYTES) as form:
            file = form["file"]
            if isinstance(file, str):
                return Response("a file is needed", status_code=400)
            made = bureau.add_file(await file.read(), file.filename or "", str(form["purpose"]))
        bureau.log({"file": made["id"], "outcome": "uploaded", "filename": made["filename"]})
        return shown(made)

    async def files(request: Request) -> Response:
        return page(request, bureau.things("file-"))

    async def one_file(request: Request) -> Response:
        found = bureau.thing(request.path_params["id"])
        if found and request.method == "DELETE":
            bureau.delete(found["id"])
            return JSONResponse({"id": found["id"], "object": "file", "deleted": True})
        return shown(found)

    async def content(request: Request) -> Response:
        found = bureau.thing(request.path_params["id"])
        return shown(None) if found is None else Response(bureau.content(found["id"]))

    async def create(request: Request) -> Response:
        asked = await request.json()
        if bureau.thing(str(asked.get("input_file_id"))) is None:
            return shown(None)
        return shown(bureau.add_batch(asked["input_file_id"], asked.get("metadata")))

    async def batches(request: Request) -> Response:
        looked = [await bureau.look(batch["id"]) for batch in bureau.things("batch_")]
        return page(request, [batch for batch in looked if batch])

    async def one_batch(request: Request) -> Response:
        return shown(await bureau.look(request.path_params["id"]))

    async def cancel(request: Request) -> Response:
        return shown(await bureau.cancel(request.path_params["id"]))

    def stumbling(act: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            fault = drawn()
            if fault in ("429", "500"):
                return await misbehave(fault)
            response = await act(request)
            return await misbehave(fault) if fault else response

        return handle

    return [
        Route("/v1/files", stumbling(upload), methods=["POST"]),
        Route("/v1/files", stumbling(files)),
        Route("/v1/files/{id}", stumbling(one_file), methods=["GET", "DELETE"]),
        Route("/v1/files/{id}/content", stumbling(content)),
        Route("/v1/batches", stumbling(create), methods=["POST"]),
        Route("/v1/batches", stumbling(batches)),
        Route("/v1/batches/{id}", stumbling(one_batch)),
        Route("/v1/batches/{id}/cancel", stumbling(cancel), methods=["POST"]),
    ]
