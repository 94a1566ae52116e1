"""The spool: answers on disk before they are in the warehouse, and who is asking for what.

A DuckDB commit is slow (some 30 ms) and needs the file's lock, so an answer first goes to an
append-only, fsynced JSON-lines file in `<home>/spool/`, and many answers move to the warehouse in
one transaction. Each process that sends has

    <name>.claims        the keys it is about to buy; flocked for as long as the process lives
    <name>.fresh         the next such file, until it takes the place of the last
    <name>-<n>.jsonl     its segments: answers that are paid for and not yet in the warehouse
    <name>.reserve       space that is given up when the disk is full, for what is in flight then

and `turn.lock` is held for the milliseconds in which claims are compared. A flock dies with its
owner, also on `kill -9`: whoever then gets the lock moves the leftover segments to the warehouse
and takes the claims away, so no request is bought twice and none stays blocked.
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
from types import TracebackType
from typing import IO, TYPE_CHECKING

from convrec.errors import WarehouseError, no_space
from convrec.llm.response import Response
from convrec.utils.locks import file_lock, try_file_lock

if TYPE_CHECKING:
    from convrec.artifacts.ducklake.locks import LakeClaims

RESERVE = 2**20
"""Bytes of the reserve: many times what `llm.max_concurrency` answers take."""

_FIELDS = {field.name for field in fields(Response)}
_NEEDED = {field.name for field in fields(Response) if field.default is MISSING}


class Spool:
    """This process's claims and segments; a context manager. Its threads may share it.

    `shared` are claims that other hosts see too, of a warehouse that several write to.
    """

    def __init__(self, folder: Path, shared: LakeClaims | None = None) -> None:
        self.folder = folder
        self.shared = shared
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.claimed: set[str] = set()
        self.full: WarehouseError | None = None  # once the reserve had to be given up
        self._segments = 0
        self._segment: FileIO | None = None
        self._claims: IO[str] | None = None

    def __enter__(self) -> Spool:
        try:
            with spool_lock(self.folder):
                self._write_claims()
            self._reserve_path.write_bytes(bytes(RESERVE))
        except OSError as error:
            self._reserve_path.unlink(missing_ok=True)
            raise spool_write_error(self.folder, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seal()
        self._reserve_path.unlink(missing_ok=True)
        with spool_lock(self.folder):
            if not _segments_of(self._claims_path):
                self._claims_path.unlink(missing_ok=True)
        if self.shared is not None:
            self.shared.close()
        if self._claims is not None:
            self._claims.close()

    def append(self, answers: Collection[Response]) -> None:
        """Write answers and fsync: when this returns they survive a crash of the machine.

        The first time that the disk is full the reserve makes room, and `full` says so. Raises
        WarehouseError where the answers cannot be kept.
        """
        lines = [json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers]
        data = "".join(lines).encode()
        try:
            try:
                self._write(data)
            except OSError as error:
                if self.full or not no_space(error):
                    raise
                self._reserve_path.unlink(missing_ok=True)
                self.full = spool_write_error(self.folder, error)
                self._write(data)
        except OSError as error:
            raise spool_write_error(self.folder, error) from None

    def _write(self, data: bytes) -> None:
        """Append to the segment, wholly or not at all."""
        if self._segment is None:
            self._segments += 1
            self._segment = self._segment_path.open("ab", buffering=0)
            _sync_folder(self.folder)
        before = os.fstat(self._segment.fileno()).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._segment.write(rest) :]
            os.fsync(self._segment.fileno())
        except OSError:
            self._segment.truncate(before)
            raise

    def seal(self) -> Path | None:
        """Close the current segment, ready to be moved to the warehouse; None without one."""
        if self._segment is None:
            return None
        self._segment.close()
        self._segment = None
        return self._segment_path

    def claim(self, keys: Collection[str], standing: Callable[[list[str]], KeyStatus]) -> Claim:
        """Take those of `keys` that nobody has and nobody asks for.

        `standing` looks keys up in the warehouse. It is asked after the claims of others are read:
        they let go of a key only when its answer is committed, so no key falls between. The keys
        of a process that died count as asked for until `recover` has saved its answers.
        """
        with spool_lock(self.folder):
            asked = claimed_keys(self.folder, besides=self._claims_path)
            if self.shared is not None:
                asked |= set(keys) - self.shared.take([key for key in keys if key not in asked])
            known = standing(list(keys))
            free = [key for key in keys if key not in known.stored and key not in known.batched]
            mine = [key for key in free if key not in asked]
            self.claimed.update(mine)
            self._write_claims()
            if self.shared is not None:
                self.shared.drop(set(keys) - self.claimed)
        elsewhere = [key for key in free if key in asked]
        return Claim(mine, known.stored, elsewhere, known.batched)

    def release(self, keys: Collection[str]) -> None:
        """Let go of keys whose answers are committed, or that failed for good."""
        with spool_lock(self.folder):
            self.claimed.difference_update(keys)
            self._write_claims()
            if self.shared is not None:
                self.shared.drop(keys)

    @property
    def _claims_path(self) -> Path:
        return self.folder / f"{self.name}.claims"

    @property
    def _segment_path(self) -> Path:
        return self.folder / f"{self.name}-{self._segments}.jsonl"

    @property
    def _reserve_path(self) -> Path:
        return self.folder / f"{self.name}.reserve"

    def _write_claims(self) -> None:
        """Put a new file, locked, in the place of the old one: others find either of them whole."""
        fresh = self._claims_path.with_suffix(".fresh")
        try:
            fresh.write_text("".join(f"{key}\n" for key in self.claimed))
            file = fresh.open("r+")
            fcntl.flock(file, fcntl.LOCK_EX)
            fresh.replace(self._claims_path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise spool_write_error(self.folder, error) from None
        if self._claims is not None:
            self._claims.close()
        self._claims = file


@dataclass(frozen=True)
class KeyStatus:
    """What the warehouse knows of some keys: which are answered, which are in an open batch."""

    stored: set[str]
    batched: set[str]


@dataclass(frozen=True)
class Claim:
    """What became of wanted keys: ours to send, answered, asked by others, or in an open batch."""

    mine: list[str]
    stored: set[str]
    elsewhere: list[str]
    batched: set[str]


def claimed_keys(folder: Path, besides: Path | None = None) -> set[str]:
    """The keys that processes are asking for now."""
    paths = (path for path in folder.glob("*.claims") if path != besides)
    return {key for path in paths for key in _text(path).split()}


def count_live_owners(folder: Path) -> int:
    """How many living processes may be keeping answers. To be called inside `turn`."""
    alive = 0
    for claims in folder.glob("*.claims"):
        with _if_dead(claims) as dead:
            alive += not dead
    return alive


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # its owner has just finished
        return ""


@contextlib.contextmanager
def spool_lock(folder: Path) -> Iterator[None]:
    """Hold the spool's lock, which is only ever held for milliseconds."""
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / "turn.lock"):
        yield


def recover(folder: Path, commit: Callable[[list[Response]], object]) -> int:
    """Move what dead processes left to the warehouse; the number of answers found.

    Both the answers and the claims of a dead process go, in this order.
    """
    if not any(folder.glob("*.claims")):
        return 0
    found = 0
    with spool_lock(folder):
        for claims in sorted(folder.glob("*.claims")):
            with _if_dead(claims) as dead:
                if not dead:
                    continue
                for segment in _segments_of(claims):
                    answers = read_segment(segment)
                    commit(answers)
                    found += len(answers)
                    segment.unlink()
                for rest in (".reserve", ".fresh"):
                    claims.with_suffix(rest).unlink(missing_ok=True)
                claims.unlink()
    return found


def read_segment(path: Path) -> list[Response]:
    """The answers of one segment; a last line that a crash cut short is left out."""
    answers = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and _NEEDED <= row.keys() <= _FIELDS:
            answers.append(Response(**row))
    return answers


def _segments_of(claims: Path) -> list[Path]:
    return sorted(claims.parent.glob(f"{claims.stem}-*.jsonl"))


@contextlib.contextmanager
def _if_dead(claims: Path) -> Iterator[bool]:
    """Whether the owner of a claims file is gone; if so, its lock is ours inside the block."""
    with try_file_lock(claims, create=False) as is_dead:
        yield is_dead


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def spool_write_error(folder: Path, error: OSError) -> WarehouseError:
    """What to raise where the spool cannot be written."""
    return WarehouseError(
        f"answers cannot be kept in {folder} ({error.strerror or error}); free some space or give "
        "this user write permission, or set CONVREC_HOME to another folder, and run again"
    )
