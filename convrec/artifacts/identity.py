"""The identity of an artifact: the hash of everything that can change its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from convrec.errors import InputError


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return text_digest(canonical_json(value))


def canonical_json(value: Any) -> str:
    """The canonical JSON of `value`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text_digest(text: str) -> str:
    """SHA-256 of a text, in hex; the text may contain lone surrogates."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def short_hash(artifact_id: str) -> str:
    """The first four hex digits of an artifact's hash, for pages and logs."""
    return artifact_id.rpartition("-")[2][:4]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of all files in a folder, in hex.

    Raises InputError if the path does not exist.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give the path of an existing file or folder")
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest([[str(p.relative_to(path)), file_digest(p)] for p in files])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class ArtifactSpec:
    """The identity of an artifact, known before it is built.

    `config` is the subset of the configuration that can change the rows. `parents` maps a role to
    an artifact id. `inputs` maps a name to the digest of outside data (files, stored responses).
    """

    kind: str
    stage: str
    version: int
    config: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def artifact_id(self) -> str:
        """`<kind>-<20 hex digits>`; also the Prefect cache key."""
        identity = {
            "kind": self.kind,
            "stage": self.stage,
            "version": self.version,
            "config": dict(self.config),
            "parents": dict(self.parents),
            "inputs": dict(self.inputs),
        }
        return f"{self.kind}-{digest(identity)[:20]}"


class ArtifactRef(BaseModel):
    """A small reference to an artifact, which tasks pass to each other instead of rows."""

    model_config = ConfigDict(frozen=True)

    artifact_id: str
    kind: str
    stage: str
    rows: int
    partial: bool = False
