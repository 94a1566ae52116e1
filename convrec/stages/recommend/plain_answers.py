"""Whether all stored answers of the teacher are in the form that every version reads alike.

The reading of lists has improved. Rows of plain answers are the same before and after, so that an
artifact of plain answers keeps its id. Where an answer is not plain, READING enters the id, so that
rows of an older reading are not mistaken for those of this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from convrec.artifacts.store import Store
from convrec.llm.read import responses_digest
from convrec.llm.requests import Request
from convrec.llm.response_store import connection_with_keys
from convrec.titles.chat_list.plain import NOT_PLAIN, PLAIN

READING = "2"
"""Raise it whenever an answer that is not plain would be read in another way."""

_FIND_OTHER = """
WITH answers AS (
    SELECT json_extract_string(
        response, ['$.choices[0].message.content', '$.choices[0].finish_reason']) AS fields
    FROM llm_answers JOIN (SELECT DISTINCT key FROM wanted) ON request_key = key)
SELECT 1 FROM answers WHERE NOT coalesce(
    coalesce(fields[2], 'stop') = 'stop'
    AND regexp_full_match(fields[1], $plain) AND NOT regexp_matches(fields[1], $not_plain), false)
LIMIT 1
"""


def answers_identity(requests: Iterable[Request], store: Store) -> dict[str, str]:
    """The stored answers to `requests` as they enter an artifact id."""
    keys: list[str] = []

    def remember_keys() -> Iterator[Request]:
        for request in requests:
            keys.append(request.key)
            yield request

    identity = {"answers": responses_digest(remember_keys(), store)}
    return identity if are_plain(keys, store) else {**identity, "reading": READING}


def are_plain(keys: list[str], store: Store) -> bool:
    """Whether every stored response to a request key is a complete answer in the plain form."""
    with connection_with_keys(store, keys) as connection:
        other = connection.execute(_FIND_OTHER, {"plain": PLAIN, "not_plain": NOT_PLAIN}).fetchone()
    return other is None
