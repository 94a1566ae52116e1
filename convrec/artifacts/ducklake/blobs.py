"""Files of a warehouse on DuckLake: checkpoints, reports and published catalogs, in its data place.

Each is one tar file under a name that is never used twice. What it stands for is a row that is
committed afterwards, so a file that was cut off half-way is never seen.
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

from convrec.artifacts.identity import file_digest
from convrec.errors import WarehouseError
from convrec.utils.error_text import first_line

MARKER_FILE = ".depot"
"""In a folder that came from the depot, or went there: the name of the file there."""

_INSIDE = "content"

_WRITTEN_LATER = {MARKER_FILE, "README.md"}
"""What does not make a folder another one: a model card is written again when it is measured."""


class BlobStore:
    """A folder, or an S3 prefix, of tar files.

    Raises WarehouseError where it cannot be read or written. S3 takes keys, region and endpoint
    from the usual variables (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, ...).
    """

    def __init__(self, place: str) -> None:
        from pyarrow import fs

        self.place = place
        self._fs: Any
        if place.startswith("s3://"):
            self._root = place.removeprefix("s3://")
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            endpoint = os.environ.get("AWS_ENDPOINT_URL")
            options = {"region": region or "us-east-1", "endpoint_override": endpoint}
            self._fs = fs.S3FileSystem(**{k: v for k, v in options.items() if v})
        else:
            self._root = place
            self._fs = fs.LocalFileSystem()
            Path(place).mkdir(parents=True, exist_ok=True)

    def send(self, path: Path, name: str) -> str:
        """Store a file or folder that `name` is to mean; returns the name of the file made."""
        file = f"{name.replace('/', '.')}.{uuid.uuid4().hex[:12]}.tar"
        if path.is_dir():
            (path / MARKER_FILE).write_text(file, encoding="utf-8")
        try:
            with (
                self._fs.open_output_stream(f"{self._root}/{file}") as stream,
                tarfile.open(fileobj=stream, mode="w|") as tar,
            ):
                tar.add(path, arcname=_INSIDE)
        except OSError as error:
            raise self._problem("written", file, error) from None
        return file

    def fetch(self, file: str, place: Path) -> None:
        """Put what a file holds to `place`, at once or not at all, instead of what is there."""
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=place.parent) as folder:
            try:
                with (
                    self._fs.open_input_stream(f"{self._root}/{file}") as stream,
                    tarfile.open(fileobj=stream, mode="r|") as tar,
                ):
                    tar.extractall(folder, filter="data")
            except (OSError, tarfile.TarError) as error:
                raise self._problem("read", file, error) from None
            if place.is_dir():
                shutil.rmtree(place)
            os.replace(Path(folder) / _INSIDE, place)

    def equals(self, file: str, path: Path) -> bool:
        """Whether a file holds what `path` holds, byte by byte; _WRITTEN_LATER apart."""
        theirs: dict[str, str] = {}
        with (
            self._fs.open_input_stream(f"{self._root}/{file}") as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for member in tar:
                if (content := tar.extractfile(member)) is not None:
                    name = os.path.relpath(member.name, _INSIDE)
                    theirs[name] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
        ours = {
            os.path.relpath(one, path): file_digest(one)
            for one in ([path] if path.is_file() else path.rglob("*"))
            if one.is_file()
        }
        names = (theirs.keys() | ours.keys()) - _WRITTEN_LATER
        return all(theirs.get(name) == ours.get(name) for name in names)

    def files(self) -> dict[str, datetime]:
        """The files that are there, and when each was written (UTC)."""
        from pyarrow import fs

        found = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return {info.base_name: info.mtime for info in found if info.is_file}

    def has(self, file: str) -> bool:
        """Whether a file is there."""
        return bool(self._fs.get_file_info(f"{self._root}/{file}").is_file)

    def remove(self, file: str) -> None:
        """Remove a file, if it is there."""
        if self.has(file):
            self._fs.delete_file(f"{self._root}/{file}")

    def _problem(self, what: str, file: str, error: Exception) -> WarehouseError:
        return WarehouseError(
            f"{self.place}/{file} cannot be {what} ({first_line(error)}); check that it exists "
            "and that this user may write to it (S3: the AWS_ variables), and run again"
        )
