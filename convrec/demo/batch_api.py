"""Files and batches of the demo server, as OpenAI offers them, in a folder.

They are written atomically, so a server that is killed and restarted finds them again. A batch
ends `seconds` after its creation; its lines are processed when it is first requested after that.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convrec.demo.faults import Faults
from convrec.utils.files import atomic_path

Respond = Callable[[Any], tuple[int, dict[str, Any]]]
"""Request body → HTTP status and response body."""

MAX_REQUESTS, MAX_BYTES = 50_000, 200_000_000
ENDPOINT = "/v1/chat/completions"
PARTIAL_FAULTS = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
"""Fault → final status of a batch that processes only half of its lines."""


@dataclass
class BatchApiState:
    """Files and batches with the fields of the OpenAI API; names with `_` are internal."""

    folder: Path
    respond: Respond
    faults: Faults
    seconds: float
    log: Callable[[dict[str, Any]], None]

    def __post_init__(self) -> None:
        self._lock = asyncio.Lock()

    def list_objects(self, prefix: str) -> list[dict[str, Any]]:
        """All file or batch objects, by the prefix of their ids, newest first."""
        found = [json.loads(p.read_text()) for p in self.folder.glob(f"{prefix}*.json")]
        return sorted(found, key=lambda item: (-item["created_at"], item["id"]))

    def get_object(self, object_id: str) -> dict[str, Any] | None:
        """One file or batch object."""
        path = self.folder / f"{Path(object_id).name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def _save_object(self, item: dict[str, Any]) -> None:
        self._write_file(f"{item['id']}.json", json.dumps(item).encode())

    def _write_file(self, name: str, content: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_path(self.folder / name) as part:
            part.write_bytes(content)

    # -- files ---------------------------------------------------------------------------------

    def add_file(self, content: bytes, name: str, purpose: str = "batch") -> dict[str, Any]:
        """Store a file; returns its object."""
        file = {
            "id": f"file-{secrets.token_hex(12)}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self._write_file(f"{file['id']}.content", content)
        self._save_object(file)
        return file

    def read_content(self, file_id: str) -> bytes:
        """The content of a file."""
        return (self.folder / f"{Path(file_id).name}.content").read_bytes()

    def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        for suffix in ("json", "content"):
            (self.folder / f"{Path(file_id).name}.{suffix}").unlink(missing_ok=True)

    # -- batches -------------------------------------------------------------------------------

    def add_batch(self, file_id: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        """Start a batch; returns its object."""
        now = int(time.time())
        batch = {
            "id": f"batch_{secrets.token_hex(12)}",
            "object": "batch",
            "endpoint": ENDPOINT,
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
        self._save_object(batch)
        lines = self.read_content(file_id).count(b"\n")
        self.log({"batch": batch["id"], "outcome": "created", "requests": lines})
        return batch

    async def get_batch(self, batch_id: str) -> dict[str, Any] | None:
        """The current state of a batch; one that is due is processed first."""
        async with self._lock:
            batch = self.get_object(batch_id)
            if batch is None or batch["status"] not in ("validating", "in_progress", "cancelling"):
                return batch
            batch = await asyncio.to_thread(self._advance, batch)
            self._save_object(batch)
            return batch

    async def cancel_batch(self, batch_id: str) -> dict[str, Any] | None:
        """Cancel a batch; half of its lines are processed."""
        batch = await self.get_batch(batch_id)
        if batch and batch["status"] in ("validating", "in_progress"):
            batch |= {"status": "cancelling", "_fault": "batch_cancelled", "_started": 0}
            self._save_object(batch)
        return batch

    def _advance(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines, errors = _parse_input(self.read_content(batch["input_file_id"]))
        if batch["_fault"] == "batch_failed":
            errors = [_batch_error("token_limit_exceeded", "Enqueued token limit reached.")]
        elif not errors:
            status, body = self.respond(lines[0]["body"])
            if status == 404:
                errors = [_batch_error("model_not_found", str(body["error"]["message"]))]
        now = int(time.time())
        if errors:
            data = {"object": "list", "data": errors}
            return batch | {"status": "failed", "failed_at": now, "errors": data}
        share = (time.time() - batch["_started"]) / self.seconds if self.seconds else 1.0
        if share < 1:
            completed = int(share * len(lines))
            counts = {"total": len(lines), "completed": completed, "failed": 0}
            return batch | {"status": "in_progress", "request_counts": counts}
        return batch | self._process(batch, lines, now)

    def _process(
        self, batch: dict[str, Any], lines: list[dict[str, Any]], now: int
    ) -> dict[str, Any]:
        """Process the lines in random order; returns the changed fields of the batch."""
        rng = random.Random(batch["_seed"])
        rng.shuffle(lines)
        status = PARTIAL_FAULTS.get(batch["_fault"], "completed")
        limit = len(lines) if status == "completed" else (len(lines) + 1) // 2
        output: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            not_run = f"batch_{status}" if number >= limit else ""
            fault = "" if not_run else self.faults.draw_from(rng)
            row = self._output_row(line, fault, not_run)
            outcome = "lost"
            if row is not None:
                response, error = row["response"], row["error"]
                outcome = str(response["status_code"] if response else error["code"])
                (output if outcome == "200" else errors).append(row)
            self.log({"key": line["custom_id"], "outcome": outcome, "batch": batch["id"]})
        moment = {"completed": "completed_at", "expired": "expired_at"}.get(status, "cancelled_at")
        done = len(output)
        return {
            "status": status,
            moment: now,
            "output_file_id": self._add_result_file(output, "output"),
            "error_file_id": self._add_result_file(errors, "error"),
            "request_counts": {
                "total": len(lines),
                "completed": done,
                "failed": len(lines) - done,
            },
        }

    def _output_row(self, line: dict[str, Any], fault: str, not_run: str) -> dict[str, Any] | None:
        """A line of the output or error file; None if the fault loses it.

        `not_run` is the error code of a line that was not processed.
        """
        row = {"id": f"batch_req_{secrets.token_hex(8)}", "custom_id": line["custom_id"]}
        if not_run:
            error = {"code": not_run, "message": "This request could not be executed in time."}
            return {**row, "response": None, "error": error}
        if fault in ("drop", "timeout"):
            return None
        if fault in ("429", "500"):
            status = int(fault)
            body: dict[str, Any] = {"error": {"message": "try again", "code": None}}
        elif fault:
            status, body = 200, {"id": "empty", "object": "chat.completion", "choices": []}
        else:
            status, body = self.respond(line["body"])
        response = {"status_code": status, "request_id": row["id"], "body": body}
        return {**row, "response": response, "error": None}

    def _add_result_file(self, rows: list[dict[str, Any]], name: str) -> str | None:
        if not rows:
            return None
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return str(self.add_file(text.encode(), f"{name}.jsonl", "batch_output")["id"])


def _parse_input(content: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(lines, errors) of an input file; lines are empty if there is an error."""
    lines: list[dict[str, Any]] = []
    seen: set[str] = set()
    if len(content) > MAX_BYTES:
        return [], [_batch_error("file_too_large", "The file is larger than 200 MB.")]
    for number, text in enumerate(filter(None, content.split(b"\n")), start=1):
        try:
            line = json.loads(text)
            name, model = line["custom_id"], line["body"]["model"]
            is_valid = (line["method"], line["url"]) == ("POST", ENDPOINT)
        except (ValueError, RecursionError, KeyError, TypeError):
            is_valid = False
        if not is_valid:
            return [], [_batch_error("invalid_json_line", "This line is no request.", number)]
        if name in seen:
            message = "The custom_id occurs twice."
            return [], [_batch_error("duplicate_custom_id", message, number)]
        if lines and model != lines[0]["body"]["model"]:
            return [], [_batch_error("mismatched_model", "A batch has one model.", number)]
        seen.add(name)
        lines.append(line)
    if not lines or len(lines) > MAX_REQUESTS:
        return [], [_batch_error("invalid_file", "A batch has 1 to 50,000 requests.")]
    return lines, []


def _batch_error(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": None}
