"""Data sets on the Hugging Face Hub, named `hub:owner/name`.

`hub:owner/name/FOLDER@REVISION` names a folder or file in the repository, and a branch, tag or
commit; the default is all of the default branch. A branch is replaced by the commit that it means
when a run starts. Files are downloaded into the Hub's own cache, by commit, when they are read; a
commit that was downloaded needs no network.
"""

from __future__ import annotations

import glob
import logging
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from convrec.config import Config
from convrec.errors import InputError, is_disk_full
from convrec.utils.hub import (
    TIMEOUT,
    cache_folder,
    cached_commit,
    describe_refusal,
    is_commit,
    is_unreachable,
    record_commit,
)

PREFIX = "hub:"

_NAME = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<path>[^@]*))?(?:@(?P<revision>\S+))?")
_DEFAULT_REVISION = "main"
_IGNORED = [
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.onnx", "*.h5", "*.msgpack"),
    *("*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.mp3", "*.wav", "*.flac", "*.mp4", "*.webm"),
]
"""Weights, pictures, sound and films, which are never read and not downloaded."""

_LOG = logging.getLogger(__name__)


class HubSource(NamedTuple):
    """A folder or file of a data set on the Hub; an empty path is the whole repository."""

    repo: str
    path: str
    revision: str

    def __str__(self) -> str:
        path = f"/{self.path}" if self.path else ""
        return f"{PREFIX}{self.repo}{path}@{self.revision}"


_commits: dict[tuple[str, str], str] = {}
_branches: dict[tuple[str, str], str] = {}
_files: dict[tuple[str, str], list[str]] = {}
"""What this process knows: (repository, branch) → commit and back, (repository, commit) → files."""


def parse_hub_name(text: str, setting: str) -> HubSource | None:
    """The source that a setting names; None if it is no name of the Hub. Raises InputError."""
    if not text.startswith(PREFIX):
        return None
    found = _NAME.fullmatch(text)
    path = ((found and found["path"]) or "").rstrip("/")
    parts = (*path.split("/"), *((found and found["revision"]) or "").split("/"))
    if found is None or ".." in parts or path.startswith("/"):
        raise InputError(
            f"{setting}={text[:200]} is not a name on the Hub; use hub:owner/name, "
            "hub:owner/name@REVISION or hub:owner/name/FOLDER@REVISION"
        )
    return HubSource(found["repo"], path, found["revision"] or _DEFAULT_REVISION)


def resolve_source(source: HubSource, *, ask: bool = False) -> HubSource:
    """The source at the commit that its revision means now, or meant when it was last asked.

    With `ask`, the Hub is asked again. If it cannot be reached, the commit that was downloaded last
    is used, with a warning. Raises InputError for a repository, revision or path that does not
    exist, and where nothing is cached.
    """
    repo, revision = source.repo, source.revision
    commit = revision if is_commit(revision) else _commits.get((repo, revision), "")
    if not commit or (ask and not is_commit(revision)):
        commit = _ask_commit(source)
        _commits[repo, revision], _branches[repo, commit] = commit, revision
    resolved = source._replace(revision=commit)
    if not is_downloaded(resolved):
        _check_path(resolved)
    return resolved


def is_downloaded(source: HubSource) -> bool:
    """Whether all files of a source at a commit are in the cache."""
    try:
        return _local_path(source, local_files_only=True).exists()
    except (OSError, ValueError):
        return False


def download(source: HubSource) -> Path:
    """The local folder or file of a source at a commit, downloaded if it is not. Raises InputError.

    The files are those of the repository, and not held in memory.
    """
    if is_downloaded(source):
        return _local_path(source, local_files_only=True)
    _LOG.info("downloading %s", source)
    try:
        path = _local_path(source, local_files_only=False)
    except Exception as error:
        raise _refused(source, error) from None
    if branch := _branches.get((source.repo, source.revision)):
        record_commit(source.repo, "dataset", branch, source.revision)
    return path


def list_files(source: HubSource) -> list[str]:
    """The names of the files below a source at a commit. Raises InputError."""
    if is_downloaded(source):
        path = _local_path(source, local_files_only=True)
        files = path.rglob("*") if path.is_dir() else ()
        return sorted(file.relative_to(path).as_posix() for file in files if file.is_file())
    if (source.repo, source.revision) not in _files:
        _ask_commit(source)
    prefix = f"{source.path}/" if source.path else ""
    names = _files.get((source.repo, source.revision), [])
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def hub_data(config: Config) -> HubSource | None:
    """`ingest.path` at a commit; None if it is not on the Hub. Raises InputError."""
    source = parse_hub_name(config.ingest.path, "ingest.path")
    return resolve_source(source) if source else None


def pin_hub_revisions(config: Config) -> Config:
    """Replace names on the Hub by the commits that they mean now, also those of the sources.

    A run does so once, so that a branch that moves meanwhile does not change the run's input.
    """
    sources = {
        name: {**sections, "ingest": _pinned(sections["ingest"], f"sources.{name}.ingest")}
        if isinstance(sections.get("ingest"), dict)
        else sections
        for name, sections in config.sources.items()
    }
    pinned = _pinned({"path": config.ingest.path, "catalog": config.ingest.catalog}, "ingest")
    ingest = config.ingest.model_copy(update=pinned)
    return config.model_copy(update={"ingest": ingest, "sources": sources})


def _pinned(values: dict[str, object], section: str) -> dict[str, object]:
    pinned = dict(values)
    for key in ("path", "catalog"):
        source = parse_hub_name(str(values.get(key) or ""), f"{section}.{key}")
        if source is not None:
            pinned[key] = str(resolve_source(source, ask=True))
    return pinned


def _ask_commit(source: HubSource) -> str:
    """The commit of a revision, and the repository's files, as the Hub says; else as cached."""
    from huggingface_hub import HfApi

    repo, revision = source.repo, source.revision
    before = cached_commit(repo, "dataset", revision)
    try:
        info = HfApi().dataset_info(repo, revision=revision, timeout=TIMEOUT)
    except Exception as error:
        if not before or not is_unreachable(error):
            raise _refused(source, error) from None
        _LOG.warning(
            "the Hub cannot be reached; %s is read as it was downloaded last, at commit %s",
            *(source, before),
        )
        return before
    commit = str(info.sha)
    _files[repo, commit] = [file.rfilename for file in info.siblings or ()]
    if before and before != commit:
        _LOG.warning(
            "%s has moved from commit %s to %s, so its data are new; name the commit to keep them",
            *(source, before, commit),
        )
    return commit


def _check_path(source: HubSource) -> None:
    """Raise InputError if the repository has no file at the source's path."""
    if (source.repo, source.revision) not in _files:
        _ask_commit(source)
    names = _files.get((source.repo, source.revision), [])
    if source.path and not any(f"{name}/".startswith(f"{source.path}/") for name in names):
        raise InputError(
            f"{source} has no {source.path}; the files of {source.repo} are "
            f"{', '.join(names[:10]) or 'none'}{', ...' if names[10:] else ''}"
        )


def _local_path(source: HubSource, *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class TerminalBar(tqdm):
        """A progress bar that a log file does not get."""

        def __init__(self, *args: Any, **options: Any) -> None:
            is_terminal = sys.stderr is not None and sys.stderr.isatty()
            options |= {} if is_terminal else {"disable": True}
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]

    escaped = glob.escape(source.path)
    folder = snapshot_download(
        source.repo,
        repo_type="dataset",
        revision=source.revision,
        allow_patterns=[escaped, f"{escaped}/*"] if source.path else None,
        ignore_patterns=_IGNORED,
        local_files_only=local_files_only,
        tqdm_class=TerminalBar,
    )
    return Path(folder) / source.path


def _refused(source: HubSource, error: Exception) -> InputError:
    if is_disk_full(error):
        folder = cache_folder(source.repo, "dataset").parent
        return InputError(f"{source} does not fit on the disk of {folder}; free space there")
    return InputError(f"{source}: {describe_refusal(error, source.repo, source.revision)}")
