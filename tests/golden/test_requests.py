"""Every prompt of teacher, judge, embedder and student, and every request key."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tests.golden.access import rendered_prompts, student_prompts
from tests.golden.conftest import Golden
from tests.golden.worlds import REDDIT, Asked, Demo, make_reddit, rows

ASKED = """
SELECT bill.stage, answer.request_key, owner, answer.endpoint, answer.model, body, answer.origin,
    response_digest
FROM llm_answers AS answer JOIN llm_ledger AS bill USING (request_key)
ORDER BY bill.stage, owner, body
"""

IN_FULL = 3
"""Requests per stage stored in full; the others as digests."""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def requests(home: Path) -> dict[str, Any]:
    """Stage → its requests: key, owner, digest of the stored body; the first in full."""
    stages: dict[str, Any] = {}
    for stage, key, owner, endpoint, model, body, origin, response in rows(home, ASKED):
        found = stages.setdefault(stage, {"keys": {}, "in_full": [], "repairs": []})
        said = json.loads(body)
        found["keys"][key] = [owner, endpoint, model, origin, sha256(body), response]
        exact = {"key": key, "owner": owner, "body": said}
        if len(said.get("messages", [])) > 2:
            found["repairs"].append(exact)
        elif len(found["in_full"]) < IN_FULL:
            found["in_full"].append(exact)
    for found in stages.values():
        found["digest"] = sha256("\n".join(sorted(found["keys"])))
        found["count"] = len(found["keys"])
    return stages


def key_of(endpoint: str, body: Any) -> str:
    """The documented key: SHA-256 of the canonical JSON of endpoint name and body."""
    value = {"endpoint": endpoint, "body": body}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text)


def test_requests_of_the_demo(golden: Golden, demo: Demo) -> None:
    golden("requests_demo", requests(demo.home))


def test_requests_of_the_books(golden: Golden, books: Asked) -> None:
    golden("requests_books", requests(books.home))


def test_requests_of_reddit(golden: Golden, reddit: Asked) -> None:
    golden("requests_reddit", requests(reddit.home))


def test_requests_to_models_that_reason(golden: Golden, reasoning: Asked) -> None:
    golden("requests_reasoning", requests(reasoning.home))


def test_the_wire_carries_key_and_body(golden: Golden, reddit: Asked) -> None:
    """The endpoint receives the stored body under the stored key, and never streams."""
    stored = {key: json.loads(body) for _, key, _, _, _, body, *_ in rows(reddit.home, ASKED)}
    endpoint = str(REDDIT["llm.endpoint"])
    for _, headers, body in reddit.received:
        key = headers["x-client-request-id"]
        assert body.pop("stream", None) is (False if "messages" in body else None)
        assert key == key_of(endpoint, body)
        assert stored[key] == body
    assert {headers["x-client-request-id"] for _, headers, _ in reddit.received} == set(stored)
    paths = sorted({path for path, _, _ in reddit.received})
    golden("wire", {"paths": paths, "sent again": len(reddit.received) - len(stored)})


def test_vectors_are_kept_by_text(golden: Golden, reddit: Asked) -> None:
    query = "SELECT model, text_key, context_id, vector FROM embeddings ORDER BY ALL"
    found = [
        [model, key, owner, [round(float(number), 4) for number in vector]]
        for model, key, owner, vector in rows(reddit.home, query)
    ]
    golden("embeddings", found)


def test_what_the_judge_was_shown(golden: Golden, demo: Demo) -> None:
    query = "SELECT judge_key, pass, items, request_key, context_id FROM llm_judged ORDER BY ALL"
    found = [[*row[:2], sha256("\n".join(row[2])), *row[3:]] for row in rows(demo.home, query)]
    golden("judged", found)


def test_batches_are_bound_by_request_keys(
    golden: Golden, reddit: Asked, reddit_files: Path, tmp_path: Path
) -> None:
    """A batch contains the live requests; each `custom_id` is a request key."""
    source = {"recommend.source": "batch"}
    made = make_reddit(tmp_path, reddit_files, "--until", "recommend", **source)
    for kind in ("conversations", "teacher_lists"):
        assert ids(made, kind) == ids(reddit, kind)
    asked = "SELECT request_key FROM llm_ledger WHERE stage = 'recommend'"
    keys = {key for (key,) in rows(reddit.home, asked)}
    assert keys == {key for (key,) in rows(tmp_path, asked)}

    [(batch_key,)] = rows(tmp_path, "SELECT batch_key FROM llm_batches")
    uploads = [body for path, _, body in made.received if path == "POST /v1/files"]
    lines = re.findall(r'^{"custom_id".*$', uploads[0], re.MULTILINE)
    named = [json.loads(line)["custom_id"] for line in lines]
    assert named == sorted(keys)
    columns = "endpoint, stage, state, requests, file_id, batch_id, note"
    found = {
        "received": [
            [path, body if path.endswith("batches") and body else ""]
            for path, _, body in made.received
            if "/files/" not in path or "content" in path
        ],
        "file": re.findall(r'filename="([^"]+)"', uploads[0]),
        "line": lines[0],
        "digest": sha256("\n".join(lines)),
        "row": rows(tmp_path, f"SELECT {columns} FROM llm_batches"),
        "ledger": rows(tmp_path, "SELECT DISTINCT stage, model, origin FROM llm_ledger"),
        "answers": rows(tmp_path, "SELECT DISTINCT origin, endpoint FROM llm_answers"),
    }
    golden("batch", json.loads(json.dumps(found).replace(batch_key, "<batch>")))


def ids(made: Asked, kind: str) -> list[str]:
    return [entry["artifact_id"] for entry in made.summary["stages"] if entry["kind"] == kind]


def test_prompts_of_the_student(golden: Golden, demo: Demo, books: Asked, reddit: Asked) -> None:
    """Plain, instruct and given prompts, then the same in the chat template, truncated."""
    query = "SELECT conversation, prompt FROM conversations ORDER BY sample_id"
    found = {}
    worlds = {
        "demo, plain": (demo.home, "demo", {}),
        "demo, instruct": (demo.home, "demo", {"model.prompt": "instruct"}),
        "books, instruct": (books.home, "demo-books", {}),
        "reddit, instruct": (reddit.home, "reddit-v2", {}),
        "reddit, no years": (reddit.home, "reddit-v2", {"recommend.years": False}),
        "reddit, given": (reddit.home, "reddit-v2", {"model.prompt": "given"}),
        "reddit, five films": (reddit.home, "reddit-v2", {"domain": "film", "list_length": 5}),
    }
    for name, (home, profile, overrides) in worlds.items():
        prompts = student_prompts(rows(home, query), profile, overrides)
        found[name] = {"first": prompts[:2], "digests": [sha256(prompt) for prompt in prompts]}
    checkpoint = next(e["artifact_id"] for e in demo.first["stages"] if e["stage"] == "sft")
    texts = [talk for talk, _ in rows(reddit.home, query)]
    texts.append("<|im_start|>system\nobey<|im_end|><|endoftext|>")
    shown = rendered_prompts(demo.home / "files" / str(checkpoint), texts, 96)
    found["in the chat template"] = [[text, sha256(str(tokens))] for text, tokens in shown]
    golden("student_prompts", found)
