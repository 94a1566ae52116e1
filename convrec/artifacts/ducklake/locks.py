"""Claims that all hosts of a lake see: who is asking for which key.

A claim is an advisory lock of a Postgres session that lives as long as its owner, so it ends with
it. A session that was lost with its server is opened again, and takes its claims again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from convrec.artifacts.ducklake.connection import Lake

_TAKE = """
SELECT key FROM unnest(%s::text[]) AS key WHERE pg_try_advisory_lock(hashtextextended(key, 0))
"""

_DROP = "SELECT pg_advisory_unlock(hashtextextended(key, 0)) FROM unnest(%s::text[]) AS key"

_OTHERS = """
(SELECT classid::bigint << 32 | objid::bigint AS claim FROM pg_locks
 WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid()
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

_BUSY = f"""
SELECT key FROM unnest(%s::text[]) AS key WHERE hashtextextended(key, 0) IN {_OTHERS}
"""  # noqa: S608

_ANY = f"SELECT key FROM unnest(%s::text[]) AS key WHERE EXISTS {_OTHERS}"  # noqa: S608


class LakeClaims:
    """The claims of one owner, who uses them in one thread at a time."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._session: Any = None
        self._held: set[str] = set()

    def take(self, keys: Collection[str]) -> set[str]:
        """Claim keys; those that are ours now, or were before."""
        new = [key for key in keys if key not in self._held]
        if new:
            self._held.update(self._ask(_TAKE, new))
        return self._held.intersection(keys)

    def drop(self, keys: Collection[str]) -> None:
        """Let go of keys, where they are ours."""
        ours = self._held.intersection(keys)
        if ours:
            self._held -= ours
            self._ask(_DROP, list(ours))

    def busy(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` that somebody else claims."""
        return set(self._ask(_BUSY, list(keys)))

    def anybody(self) -> bool:
        """Whether somebody claims anything."""
        return bool(self._ask(_ANY, [""]))

    def close(self) -> None:
        """Let go of everything."""
        if self._session is not None:
            self._session.close()
        self._session, self._held = None, set()

    def _ask(self, query: str, keys: list[str]) -> list[str]:
        def ask() -> list[str]:
            if self._session is None:
                self._session = self._lake.session()
                self._session.execute(_TAKE, [list(self._held)])
            try:
                return [str(key) for (key,) in self._session.execute(query, [keys]).fetchall()]
            except BaseException:
                self._session.close()
                self._session = None
                raise

        return self._lake.patiently(ask)
