"""Upload an exported checkpoint to the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from convrec.errors import ConvrecError, InputError
from convrec.utils.hub import TIMEOUT, describe_refusal, is_unreachable

_NAME = re.compile(r"[A-Za-z0-9][\w-]*/[\w.-]+")


def check_push_name(repo: str) -> None:
    """Raise InputError if `repo` is not owner/name."""
    if not _NAME.fullmatch(repo):
        raise InputError(f"--push {repo[:100]} is not a name on the Hub; use owner/name")


def push_folder(folder: Path, repo: str, *, public: bool = False) -> str:
    """Upload the files of `folder` to a model repository as one commit; returns its address.

    The repository is created if it does not exist, private unless `public`. The token is that of
    HF_TOKEN or of `hf auth login`. Raises InputError without a token, where it may not write, and
    for a public repository without `public`; ConvrecError if the Hub cannot be reached. The folder
    stays as it is.
    """
    from huggingface_hub import HfApi, get_token

    check_push_name(repo)
    rest = f"; the export is in {folder}"
    if not get_token():
        raise InputError(
            f"--push {repo} needs a token that may write; set HF_TOKEN, or log in with "
            f"`hf auth login`{rest}"
        )
    api = HfApi(library_name="convrec")
    try:
        api.create_repo(repo, private=not public, exist_ok=True)
        is_public = not api.model_info(repo, timeout=TIMEOUT).private
        if not is_public or public:
            commit = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message="Upload by convrec export"
            )
            return str(commit.repo_url)
    except Exception as error:
        kind = ConvrecError if is_unreachable(error) else InputError
        raise kind(f"--push {repo}: {describe_refusal(error, repo)}{rest}") from None
    raise InputError(f"--push {repo}: the repository is public; add --public to upload{rest}")
