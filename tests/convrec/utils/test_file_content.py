from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from convrec.errors import InputError
from convrec.utils.file_content import (
    data_stem,
    data_suffix,
    is_compressed,
    is_lfs_pointer,
    is_parquet,
    reject_other_kinds,
    text_lines,
)

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
TEXT = b'{"a": 1}\n{"a": 2}\n'
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("rows.jsonl"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (POINTER, "is a Git LFS pointer, not the file itself; run `git lfs pull`"),
        (codecs.BOM_UTF8 + POINTER, "git lfs pull"),
        (b"/annex/objects/SHA256E-s12--ab.csv\n", "git annex get"),
        (b"<!DOCTYPE html>\n<html><head></head></html>", "is a web page"),
        (b"\n  <!doctype HTML>\n", "is a web page"),
        (b"<html lang='en'>", "is a web page"),
        (codecs.BOM_UTF8 + b"<!DOCTYPE html>", "is a web page"),
        ("\ufeff<!DOCTYPE html>".encode("utf-16-le"), "is a web page"),
        (gzip.compress(b"<!DOCTYPE html><html></html>", mtime=0), "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an XML document"),
        (zipped("xl/workbook.xml", "[Content_Types].xml"), "is an Excel workbook"),
        (zipped("word/document.xml"), "is a Word document"),
        (zipped("mimetype", "content.xml"), "is an OpenDocument file"),
        (zipped("train.jsonl"), "is a ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 20, "is an old Office document"),
        (b"SQLite format 3\0" + b"\0" * 80, "is an SQLite database"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array"),
        (tarred(), "is a tar archive"),
        (gzip.compress(tarred(), mtime=0), "is a tar archive"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        reject_other_kinds(path, "CSV or Parquet")
    assert part in str(caught.value)
    assert str(caught.value).startswith(f"{path} is a")


def test_a_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    duckdb.connect(str(path)).close()
    with pytest.raises(InputError, match="is a DuckDB database"):
        reject_other_kinds(path, "CSV")


@pytest.mark.parametrize(
    "content", [b"", b"title,year\n", TEXT, b"PAR1...", b"version https://x\n"]
)
def test_tables_are_not_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    reject_other_kinds(path, "CSV")
    assert is_parquet(path) == content.startswith(b"PAR1")
    assert not is_lfs_pointer(content)


@pytest.mark.parametrize("ending", COMPRESS)
def test_compression_is_known_by_content(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "rows.jsonl"  # without the ending
    path.write_bytes(COMPRESS[ending](TEXT))
    assert is_compressed(path)
    with text_lines(path) as lines:
        assert b"".join(lines) == TEXT


@pytest.mark.parametrize("ending", COMPRESS)
def test_cut_off_data_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.jsonl.{ending}"
    whole = COMPRESS[ending](bytes(range(256)) * 400 + TEXT)
    path.write_bytes(whole[: len(whole) - 12])
    with pytest.raises(InputError, match="damaged or cut off"), text_lines(path) as lines:
        list(lines)


@pytest.mark.parametrize("ending", COMPRESS)
def test_several_compressed_parts_are_one_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.jsonl.{ending}"
    path.write_bytes(COMPRESS[ending](TEXT) + COMPRESS[ending](TEXT))
    with text_lines(path) as lines:
        assert b"".join(lines) == TEXT + TEXT


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8"])
def test_encodings_with_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes("Amélie\r\nRan".encode(encoding))
    with text_lines(path) as lines:
        assert [line.decode() for line in lines] == ["Amélie\r\n", "Ran"]


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("train.jsonl", "train", ".jsonl"),
        ("Train.JSONL.GZ", "Train", ".jsonl"),
        ("train-00000-of-00002.parquet", "train-00000-of-00002", ".parquet"),
        ("part.0.csv.zst", "part.0", ".csv"),
        ("test.tar.gz", "test", ".tar"),
        ("train", "train", ""),
    ],
)
def test_names_without_their_compression(name: str, stem: str, suffix: str) -> None:
    assert (data_stem(name), data_suffix(name)) == (stem, suffix)
