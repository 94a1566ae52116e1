"""Shared copies of a lake's files: checkpoints, reports and published catalogs.

Each copy is one tar file under a name that is never used twice. A row that is committed afterwards
refers to it, so a copy that was interrupted is never seen.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from pyarrow import fs

from convrec.artifacts.identity import file_digest
from convrec.errors import WarehouseError
from convrec.utils.error_text import first_line

MARKER_FILE = ".depot"
"""Holds, in a folder that was uploaded or downloaded, the name of its copy."""

_CONTENT = "content"

_IGNORED = {MARKER_FILE, "README.md"}
"""Files that do not make two folders differ: the model card is rewritten after an evaluation."""


class BlobStore:
    """A folder, or an S3 prefix, of tar files.

    Raises WarehouseError if it cannot be read or written. S3 takes keys, region and endpoint from
    the usual variables (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, ...).
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._fs: Any
        if location.startswith("s3://"):
            self._root = location.removeprefix("s3://")
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            endpoint = os.environ.get("AWS_ENDPOINT_URL")
            options = {"region": region or "us-east-1", "endpoint_override": endpoint}
            self._fs = fs.S3FileSystem(**{k: v for k, v in options.items() if v})
        else:
            self._root = location
            self._fs = fs.LocalFileSystem()
            Path(location).mkdir(parents=True, exist_ok=True)

    def upload(self, path: Path, name: str) -> str:
        """Store a copy of a file or folder that `name` will refer to; returns the copy's name."""
        copy = f"{name.replace('/', '.')}.{uuid.uuid4().hex[:12]}.tar"
        if path.is_dir():
            (path / MARKER_FILE).write_text(copy, encoding="utf-8")
        try:
            with (
                self._fs.open_output_stream(f"{self._root}/{copy}") as stream,
                tarfile.open(fileobj=stream, mode="w|") as tar,
            ):
                tar.add(path, arcname=_CONTENT)
        except OSError as error:
            raise self._failure("written", copy, error) from None
        return copy

    def download(self, copy: str, path: Path) -> None:
        """Replace `path` with the content of a copy, completely or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=path.parent) as folder:
            try:
                with (
                    self._fs.open_input_stream(f"{self._root}/{copy}") as stream,
                    tarfile.open(fileobj=stream, mode="r|") as tar,
                ):
                    tar.extractall(folder, filter="data")
            except (OSError, tarfile.TarError) as error:
                raise self._failure("read", copy, error) from None
            if path.is_dir():
                shutil.rmtree(path)
            os.replace(Path(folder) / _CONTENT, path)

    def matches(self, copy: str, path: Path) -> bool:
        """Whether a copy holds the same bytes as `path`, apart from _IGNORED."""
        theirs: dict[str, str] = {}
        with (
            self._fs.open_input_stream(f"{self._root}/{copy}") as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for member in tar:
                if (content := tar.extractfile(member)) is not None:
                    name = os.path.relpath(member.name, _CONTENT)
                    theirs[name] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
        ours = {
            os.path.relpath(file, path): file_digest(file)
            for file in ([path] if path.is_file() else path.rglob("*"))
            if file.is_file()
        }
        names = (theirs.keys() | ours.keys()) - _IGNORED
        return all(theirs.get(name) == ours.get(name) for name in names)

    def list_files(self) -> dict[str, datetime]:
        """Name of each copy → when it was written (UTC)."""
        found = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return {info.base_name: info.mtime for info in found if info.is_file}

    def exists(self, copy: str) -> bool:
        """Whether there is a copy of this name."""
        return bool(self._fs.get_file_info(f"{self._root}/{copy}").is_file)

    def delete(self, copy: str) -> None:
        """Delete a copy, if it exists."""
        if self.exists(copy):
            self._fs.delete_file(f"{self._root}/{copy}")

    def _failure(self, what: str, copy: str, error: Exception) -> WarehouseError:
        return WarehouseError(
            f"{self.location}/{copy} cannot be {what} ({first_line(error)}); check that it exists "
            "and that this user may write to it (S3: the AWS_ variables), and run again"
        )
