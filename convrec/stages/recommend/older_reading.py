"""Whether the stored answers of the teacher are read as the first versions of convrec read them.

An artifact of such answers keeps the id that it always had. Where a single answer is read
differently, READING enters the id, so that rows of the older reading are not mistaken for those of
this one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from convrec.artifacts.store import Store
from convrec.config import Config
from convrec.llm.answer import read_answer
from convrec.llm.read import responses_digest
from convrec.llm.requests import Request, chunks
from convrec.llm.response_store import connection_with_keys
from convrec.stages.recommend.parse import NO_ITEM, read_list
from convrec.titles.line_format import parse_list_lines

READING = "2"
"""Raise it whenever an answer is read in another way than before."""

PLAIN = r"(?:[0-9]{1,3}[.)] [A-Z0-9][A-Za-z0-9'&,. ]*[A-Za-z0-9] \([12][0-9]{3}\)\n?)+"
"""Matches the whole of an answer that needs no comparison: numbered lines "Title (year)"."""

_OTHERS = """
SELECT response FROM llm_answers JOIN (SELECT DISTINCT key FROM wanted) ON request_key = key
WHERE NOT coalesce(CASE WHEN json_valid(response) THEN
    regexp_full_match(json_extract_string(response, '$.choices[0].message.content'), $plain)
    AND json_extract_string(response, '$.choices[0].finish_reason') = 'stop' END, false)
"""


def answers_identity(requests: Iterable[Request], store: Store, config: Config) -> dict[str, str]:
    """The stored answers to `requests` as they enter an artifact id."""
    is_older = True

    def compare() -> Iterator[Request]:
        nonlocal is_older
        for chunk in chunks(requests):
            if is_older:
                keys = [request.key for request in chunk]
                others = _other_answers(keys, store)
                is_older = all(is_read_alike(response, config) for response in others)
            yield from chunk

    identity = {"answers": responses_digest(compare(), store)}
    return identity if is_older else {**identity, "reading": READING}


def is_read_alike(response: Mapping[str, Any], config: Config) -> bool:
    """Whether an answer gives the list, or the reason for none, that the first versions found."""
    answer = read_answer(response)
    items, reason = read_list(answer, config)
    before = parse_list_lines(answer.content, config.llm_line_format)[: config.list_length]
    if items or before:
        return items == before
    message = response["choices"][0].get("message") or {}
    missing = f"no text: {message.get('refusal') or 'empty content'}"
    return reason == (NO_ITEM if answer.content else missing)


def _other_answers(keys: list[str], store: Store) -> Iterator[dict[str, Any]]:
    """The stored responses that are not plain."""
    with connection_with_keys(store, keys) as connection:
        found = connection.execute(_OTHERS, {"plain": PLAIN})
        while row := found.fetchone():
            yield json.loads(row[0])
