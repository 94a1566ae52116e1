"""Claims that all hosts of a lake see: which owner is sending which request.

A claim is an advisory lock of a Postgres session that lives as long as its owner. If the server
drops the session, a new one takes the claims again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from convrec.artifacts.ducklake.connection import LakeConnection

_TAKE = """
SELECT key FROM unnest(%s::text[]) AS key WHERE pg_try_advisory_lock(hashtextextended(key, 0))
"""

_RELEASE = "SELECT pg_advisory_unlock(hashtextextended(key, 0)) FROM unnest(%s::text[]) AS key"

_OTHERS = """
(SELECT classid::bigint << 32 | objid::bigint AS claim FROM pg_locks
 WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid()
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

_CLAIMED_BY_OTHERS = f"""
SELECT key FROM unnest(%s::text[]) AS key WHERE hashtextextended(key, 0) IN {_OTHERS}
"""  # noqa: S608

_ANY_CLAIMED = f"SELECT key FROM unnest(%s::text[]) AS key WHERE EXISTS {_OTHERS}"  # noqa: S608


class LakeClaims:
    """The claims of one owner, which uses them in one thread at a time."""

    def __init__(self, lake: LakeConnection) -> None:
        self._lake = lake
        self._session: Any = None
        self._held: set[str] = set()

    def take(self, keys: Collection[str]) -> set[str]:
        """Claim keys; returns those that this owner holds now."""
        new = [key for key in keys if key not in self._held]
        if new:
            self._held.update(self._query(_TAKE, new))
        return self._held.intersection(keys)

    def drop(self, keys: Collection[str]) -> None:
        """Release those of `keys` that this owner holds."""
        ours = self._held.intersection(keys)
        if ours:
            self._held -= ours
            self._query(_RELEASE, list(ours))

    def claimed_by_others(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` that another owner holds."""
        return set(self._query(_CLAIMED_BY_OTHERS, list(keys)))

    def has_others(self) -> bool:
        """Whether another owner holds any key."""
        return bool(self._query(_ANY_CLAIMED, [""]))

    def close(self) -> None:
        """Release all keys."""
        if self._session is not None:
            self._session.close()
        self._session, self._held = None, set()

    def _query(self, query: str, keys: list[str]) -> list[str]:
        def run() -> list[str]:
            if self._session is None:
                self._session = self._lake.open_session()
                self._session.execute(_TAKE, [list(self._held)])
            try:
                return [str(key) for (key,) in self._session.execute(query, [keys]).fetchall()]
            except BaseException:
                self._session.close()
                self._session = None
                raise

        return self._lake.when_available(run)
