"""What a file holds by its first bytes: data, compressed data, or something else.

A name says little: a download may be a Git LFS pointer, a login page or a ZIP archive, and a file
may be compressed without the ending that says so.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from convrec.errors import InputError
from convrec.utils.error_text import first_line

COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""Endings of compressed files, and the names of their compressions."""

PARQUET = b"PAR1"

_START = 512
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_ANNEX_POINTER = re.compile(rb"/?(?:\.git/)?annex/objects/")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document, such as .xls",
    b"SQLite format 3\0": "an SQLite database",
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"ARROW1": "an Arrow (Feather) file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"{\\rtf": "an RTF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}
_OFFICE = {
    "xl/": "an Excel workbook",
    "word/": "a Word document",
    "content.xml": "an OpenDocument file",
}
_PAGE = re.compile(rb"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE)
_XML = re.compile(rb"\s*<(?:\?xml|error)\b", re.IGNORECASE)
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)


def is_lfs_pointer(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a Git LFS pointer."""
    return start.removeprefix(codecs.BOM_UTF8).startswith(_LFS_POINTER)


def lfs_problem(path: Path) -> str:
    """What to do about a file that is a Git LFS or git-annex pointer; empty for another file."""
    start = _first_bytes(path)
    if is_lfs_pointer(start):
        return (
            f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in the clone "
            "that it comes from"
        )
    if _ANNEX_POINTER.match(start):
        return (
            f"{path} is a git-annex pointer, not the file itself; run `git annex get` in the clone "
            "that it comes from"
        )
    return ""


def reject_other_kinds(path: Path, wanted: str) -> None:
    """Raise InputError if the file is a pointer, a web page, an archive, a database or the like.

    `wanted` says what to use instead, as in "CSV or Parquet".
    """
    if problem := lfs_problem(path):
        raise InputError(problem)
    with decompressed(path) as file:
        start = file.read(_START)
    if kind := _other_kind(path, start):
        remedy = "download the file itself" if kind == "a web page" else f"convert it to {wanted}"
        raise InputError(f"{path} is {kind}, not {wanted}; {remedy}")


def is_parquet(path: Path) -> bool:
    """Whether a file begins as a Parquet file does."""
    return _first_bytes(path).startswith(PARQUET)


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed, whatever its name."""
    return bool(_compression(_first_bytes(path)))


def data_suffix(name: str) -> str:
    """The lower-case ending of a file name without the one of its compression: `.jsonl`."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def data_stem(name: str) -> str:
    """A file name without its ending and the one of its compression."""
    stem = Path(name).stem
    return Path(stem).stem if Path(name.lower()).suffix in COMPRESSIONS else stem


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, decompressed if it is compressed by gzip, bzip2, xz or zstd.

    Raises InputError if it cannot be read, or if its compressed data is damaged or cut off.
    """
    compression = ""
    try:
        compression = _compression(_first_bytes(path))
        with _open(path, compression) as file:
            yield file
    except _DAMAGED as error:
        if not compression:
            if isinstance(error, OSError):
                raise InputError(f"{path} cannot be read ({error.strerror})") from None
            raise
        raise InputError(
            f"{path} is damaged or cut off ({compression}: {first_line(error)}), so some of its "
            "rows are missing; copy or download it again"
        ) from None


@contextlib.contextmanager
def text_lines(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a text file as UTF-8, decompressed; UTF-16 and UTF-32 are known by their mark.

    Lines keep their ends and are not checked to be UTF-8. Raises InputError as `decompressed` does.
    """
    with decompressed(path) as file:
        start = cast(io.BufferedReader, file).peek(4)[:4]
        if encoding := wide_encoding(start):
            text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="\n")
            yield (line.encode() for line in text)
        else:
            yield iter(file)


def wide_encoding(start: bytes) -> str:
    """`utf-16` or `utf-32` if text begins with the mark of one, else empty."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""


def _open(path: Path, compression: str) -> IO[bytes]:
    if compression == "gzip":
        return cast(IO[bytes], gzip.open(path))
    if compression == "bzip2":
        return bz2.open(path)
    if compression == "xz":
        return lzma.open(path)
    if compression == "zstd":
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _first_bytes(path: Path) -> bytes:
    """The first bytes of a file; empty if it cannot be read, which the reader reports."""
    try:
        with path.open("rb") as file:
            return file.read(_START)
    except OSError:
        return b""


def _compression(start: bytes) -> str:
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), "")


def _other_kind(path: Path, start: bytes) -> str:
    """What a file is by its first (decompressed) bytes, if it is no table; else empty."""
    found = next((kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)), "")
    if found == "a ZIP archive":
        return _archive_kind(path) or found
    if found:
        return found
    if start[257:262] == b"ustar":
        return "a tar archive"
    if start[8:12] == b"DUCK":
        return "a DuckDB database"
    text = start.removeprefix(codecs.BOM_UTF8)
    if encoding := wide_encoding(start):
        text = start.decode(encoding, errors="replace").encode()
    if _PAGE.match(text):
        return "a web page"
    return "an XML document" if _XML.match(text) else ""


def _archive_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return ""
    kinds = (kind for part, kind in _OFFICE.items() if any(n.startswith(part) for n in names))
    return next(kinds, "")
