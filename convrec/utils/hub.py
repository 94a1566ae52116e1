"""What models and data share of the Hugging Face Hub: its cache, and its errors as sentences."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path

from convrec.utils.error_text import first_line
from convrec.utils.files import atomic_path

TIMEOUT = 10
"""Seconds until the Hub has to answer a question."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOG_IN = "set HF_TOKEN, or log in with `hf auth login`"


def is_commit(revision: str) -> bool:
    """Whether a revision is the full sha of a commit, which never moves."""
    return bool(_COMMIT.fullmatch(revision))


def is_unreachable(error: BaseException) -> bool:
    """Whether the Hub gave no answer, or none of its own: no network, offline mode, status 5xx."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    if isinstance(error, HfHubHTTPError):
        return error.response is None or error.response.status_code >= 500
    # The HTTP client is httpx in one version and httpx2 in another; both derive from HTTPError.
    network = HTTPError | LocalEntryNotFoundError | ConnectionError | TimeoutError | socket.gaierror
    return isinstance(error, network)


def describe_refusal(error: BaseException, repo: str, revision: str = "") -> str:
    """Why the Hub refused, and what to do: the rest of a sentence that names the setting."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}; use a branch, a tag or a commit of it"
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated; accept its terms on its page, and {_LOG_IN}"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{repo} does not exist on the Hub, or is private and your token may not read it; "
            f"check the name, or {_LOG_IN}"
        )
    if isinstance(error, HFValidationError):
        return f"{repo!r} is not a name on the Hub; use owner/name"
    if is_unreachable(error):
        kind = type(error).__name__
        return f"the Hub cannot be reached ({kind}); check the network and try again"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        if status in (401, 403):
            return f"the Hub refuses {repo} to this token (HTTP {status}); {_LOG_IN}"
        return f"the Hub refuses {repo} (HTTP {status}); try again later"
    if isinstance(error, OSError):
        reason = error.strerror or first_line(error)
        return f"the Hub's cache cannot be written ({reason}); set HF_HOME to another folder"
    return f"{first_line(error)}; check the name and try again"


def cache_folder(repo: str, repo_type: str) -> Path:
    """The folder of a repository in the Hub's cache. It may not exist."""
    from huggingface_hub import constants

    folder = f"{repo_type}s--{repo.replace('/', '--')}"
    return Path(constants.HF_HUB_CACHE).expanduser() / folder


def cached_commit(repo: str, repo_type: str, revision: str) -> str:
    """The commit that a branch or tag meant when it was last downloaded; empty if never."""
    try:
        commit = (cache_folder(repo, repo_type) / "refs" / revision).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    return commit.strip() if is_commit(commit.strip()) else ""


def record_commit(repo: str, repo_type: str, revision: str, commit: str) -> None:
    """Record what a branch or tag means, where `cached_commit` and the Hub's library look."""
    path = cache_folder(repo, repo_type) / "refs" / revision
    with suppress(OSError):  # such as a cache that is read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            part.write_text(commit, encoding="utf-8")
