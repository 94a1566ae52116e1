"""The spool: responses on disk before they are in the warehouse, and claims on requests.

A DuckDB commit takes some 30 ms and needs the file's lock. So a response is first appended and
fsynced to a JSON Lines file in `<home>/spool/`, and many responses move to the warehouse in one
transaction. Each process that sends requests has

    <name>.claims        the request keys it will buy; flocked as long as the process lives
    <name>.fresh         the next version of that file, before it replaces the current one
    <name>-<n>.jsonl     its segments: responses that are paid for and not yet in the warehouse
    <name>.reserve       space that is freed for the requests in flight when the disk is full

`turn.lock` is held for the milliseconds in which claims are compared. The kernel releases a flock
when its owner dies, also on `kill -9`. The next process that gets the lock moves the remaining
segments to the warehouse and deletes the claims. So no request is bought twice or stays claimed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from io import FileIO
from pathlib import Path
from typing import IO

from convrec.artifacts.ducklake.claims import LakeClaims
from convrec.errors import WarehouseError, is_disk_full
from convrec.llm.response import Response
from convrec.utils.locks import file_lock, try_file_lock

RESERVE_BYTES = 2**20
"""Size of the reserve: many times what `llm.max_concurrency` responses take."""

_FIELDS = {field.name for field in fields(Response)}
_REQUIRED = {field.name for field in fields(Response) if field.default is MISSING}


@dataclass(frozen=True)
class KeyStatus:
    """Which of some request keys have a stored response, and which are in an open batch."""

    stored: set[str]
    batched: set[str]


@dataclass(frozen=True)
class Claim:
    """The result of claiming keys: `granted` ones are for this process to send."""

    granted: list[str]
    stored: set[str]
    elsewhere: list[str]
    batched: set[str]


class Spool:
    """The claims and segments of this process, shared by its threads; a context manager.

    `disk_full` is set once the reserve had to be used.
    """

    def __init__(self, folder: Path, lake_claims: LakeClaims | None = None) -> None:
        self.folder = folder
        self.lake_claims = lake_claims
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.claimed: set[str] = set()
        self.disk_full: WarehouseError | None = None
        self._segment_count = 0
        self._segment: FileIO | None = None
        self._claims_file: IO[str] | None = None

    def __enter__(self) -> Spool:
        try:
            with spool_lock(self.folder):
                self._write_claims()
            self._reserve_path.write_bytes(bytes(RESERVE_BYTES))
        except OSError as error:
            self._reserve_path.unlink(missing_ok=True)
            raise spool_write_error(self.folder, error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.seal()
        self._reserve_path.unlink(missing_ok=True)
        with spool_lock(self.folder):
            if not _segments_of(self._claims_path):
                self._claims_path.unlink(missing_ok=True)
        if self.lake_claims is not None:
            self.lake_claims.close()
        if self._claims_file is not None:
            self._claims_file.close()

    def append(self, responses: Collection[Response]) -> None:
        """Write and fsync responses: once this returns they survive a crash of the machine.

        When the disk is full for the first time, the reserve is deleted to make room and
        `disk_full` is set. Raises WarehouseError if the responses cannot be written.
        """
        lines = (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in responses)
        data = "".join(lines).encode()
        try:
            try:
                self._write(data)
            except OSError as error:
                if self.disk_full or not is_disk_full(error):
                    raise
                self._reserve_path.unlink(missing_ok=True)
                self.disk_full = spool_write_error(self.folder, error)
                self._write(data)
        except OSError as error:
            raise spool_write_error(self.folder, error) from None

    def seal(self) -> Path | None:
        """Close the current segment, if any, and return its path."""
        if self._segment is None:
            return None
        self._segment.close()
        self._segment = None
        return self._segment_path

    def claim(self, keys: Collection[str], key_status: Callable[[list[str]], KeyStatus]) -> Claim:
        """Claim those of `keys` that have no response and that no other process has claimed.

        `key_status` looks keys up in the warehouse. It is called after the claims of others are
        read: they release a key only once its response is committed, so no key is missed. Keys of
        a dead process stay claimed until `recover` has saved its responses.
        """
        with spool_lock(self.folder):
            others = claimed_keys(self.folder, exclude=self._claims_path)
            if self.lake_claims is not None:
                free = [key for key in keys if key not in others]
                others |= set(keys) - self.lake_claims.take(free)
            status = key_status(list(keys))
            missing = [k for k in keys if k not in status.stored and k not in status.batched]
            granted = [key for key in missing if key not in others]
            self.claimed.update(granted)
            self._write_claims()
            if self.lake_claims is not None:
                self.lake_claims.drop(set(keys) - self.claimed)
        elsewhere = [key for key in missing if key in others]
        return Claim(granted, status.stored, elsewhere, status.batched)

    def release(self, keys: Collection[str]) -> None:
        """Release keys whose responses are committed, or that failed for good."""
        with spool_lock(self.folder):
            self.claimed.difference_update(keys)
            self._write_claims()
            if self.lake_claims is not None:
                self.lake_claims.drop(keys)

    @property
    def _claims_path(self) -> Path:
        return self.folder / f"{self.name}.claims"

    @property
    def _segment_path(self) -> Path:
        return self.folder / f"{self.name}-{self._segment_count}.jsonl"

    @property
    def _reserve_path(self) -> Path:
        return self.folder / f"{self.name}.reserve"

    def _write(self, data: bytes) -> None:
        """Append all of `data` to the segment, or nothing."""
        if self._segment is None:
            self._segment_count += 1
            self._segment = self._segment_path.open("ab", buffering=0)
            _sync_folder(self.folder)
        size = os.fstat(self._segment.fileno()).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._segment.write(rest) :]
            os.fsync(self._segment.fileno())
        except OSError:
            self._segment.truncate(size)
            raise

    def _write_claims(self) -> None:
        """Replace the claims file by a new one that is locked already."""
        fresh = self._claims_path.with_suffix(".fresh")
        try:
            fresh.write_text("".join(f"{key}\n" for key in self.claimed))
            file = fresh.open("r+")
            fcntl.flock(file, fcntl.LOCK_EX)
            fresh.replace(self._claims_path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise spool_write_error(self.folder, error) from None
        if self._claims_file is not None:
            self._claims_file.close()
        self._claims_file = file


@contextlib.contextmanager
def spool_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the spool, which is held for milliseconds only."""
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / "turn.lock"):
        yield


def claimed_keys(folder: Path, exclude: Path | None = None) -> set[str]:
    """The keys in all claims files but `exclude`."""
    keys: set[str] = set()
    for path in folder.glob("*.claims"):
        if path != exclude:
            with contextlib.suppress(FileNotFoundError):  # its owner has just finished
                keys.update(path.read_text().split())
    return keys


def count_live_owners(folder: Path) -> int:
    """How many living processes have a spool. Call it inside `spool_lock`."""
    count = 0
    for claims in folder.glob("*.claims"):
        with try_file_lock(claims, create=False) as is_dead:
            count += not is_dead
    return count


def recover(folder: Path, commit: Callable[[list[Response]], object]) -> int:
    """Commit the responses of dead processes, then delete their claims; the number found."""
    if not any(folder.glob("*.claims")):
        return 0
    found = 0
    with spool_lock(folder):
        for claims in sorted(folder.glob("*.claims")):
            with try_file_lock(claims, create=False) as is_dead:
                if not is_dead:
                    continue
                for segment in _segments_of(claims):
                    responses = read_segment(segment)
                    commit(responses)
                    found += len(responses)
                    segment.unlink()
                for suffix in (".reserve", ".fresh"):
                    claims.with_suffix(suffix).unlink(missing_ok=True)
                claims.unlink()
    return found


def read_segment(path: Path) -> list[Response]:
    """The responses of one segment, without a last line that a crash cut short."""
    responses = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and _REQUIRED <= row.keys() <= _FIELDS:
            responses.append(Response(**row))
    return responses


def spool_write_error(folder: Path, error: OSError) -> WarehouseError:
    """The error to raise if a file of the spool cannot be written."""
    return WarehouseError(
        f"LLM responses cannot be written to {folder} ({error.strerror or error}). Free some "
        "space, give this user write permission, or set CONVREC_HOME to another folder, and run "
        "again"
    )


def _segments_of(claims: Path) -> list[Path]:
    return sorted(claims.parent.glob(f"{claims.stem}-*.jsonl"))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
