"""A stand-in for the Hugging Face Hub on a loopback port, as far as its client library asks.

Repositories are lists of commits, each a mapping of file names to content. It counts what it is
asked, refuses what the real one refuses, and can be closed and opened.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_stand_in"


@dataclass
class Repo:
    """A repository: the files of each commit, and what its branches and tags mean."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    readable: bool = True
    """Whether the token may read it."""
    gated: bool = False
    """Whether its files are refused until its terms are accepted."""

    def commit(self, files: dict[str, bytes | str], branch: str = "main") -> str:
        """Add a commit on top of a branch; returns its sha."""
        before = self.commits.get(self.refs.get(branch, ""), {})
        content = {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}
        whole = before | content
        sha = hashlib.sha1(repr(sorted(whole.items())).encode()).hexdigest()
        self.commits[sha] = whole
        self.refs[branch] = sha
        return sha


@dataclass
class Hub:
    """A running stand-in. `asked` has the method and path of each request."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    status: int = 0
    """If set, every request gets this status."""
    may_write: bool = True

    def add(self, name: str, files: dict[str, bytes | str], *, kind: str = "datasets") -> Repo:
        """A repository with one commit on main."""
        repo = self.repos[f"{kind}/{name}"] = Repo()
        repo.commit(files)
        return repo


_API = re.compile(
    r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit)/(.+))?"
)
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.command != "HEAD":
            headers.setdefault("Content_Length", "")
        if "Content_Length" not in headers or not headers["Content_Length"]:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"{}", X_Error_Code=code, X_Error_Message=code)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _repo(self, kind: str, name: str) -> Repo | None:
        """The repository; refuses one that does not exist or may not be read."""
        repo = self.hub.repos.get(f"{kind}/{name}")
        has_token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo is None or (repo.private and not (has_token and repo.readable)):
            self._refuse(404 if has_token else 401, "RepoNotFound")
            return None
        return repo

    def _sha(self, repo: Repo, revision: str) -> str | None:
        sha = repo.refs.get(revision, revision)
        if sha not in repo.commits:
            self._refuse(404, "RevisionNotFound")
            return None
        return sha

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        body = self._body()
        if self.hub.status:
            self._json({"error": "down"}, self.hub.status)
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._lfs_batch(json.loads(body))
        elif path.startswith("/lfs/"):
            self.hub.uploads[path.removeprefix("/lfs/")] = body
            self._answer(200)
        elif found := _API.fullmatch(path):
            self._api(*found.groups(), body)  # type: ignore[arg-type]
        elif found := _FILE.fullmatch(path):
            self._file("datasets" if found[1] else "models", *found.groups()[1:])
        else:
            self._refuse(404, "EntryNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - names of the base class

    def _api(self, kind: str, name: str, what: str | None, revision: str, body: bytes) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        if what == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            self._json({"files": modes})
            return
        if what == "commit":
            self._commit(repo, name, revision, body)
            return
        sha = self._sha(repo, revision or "main")
        if sha is None:
            return
        files = repo.commits[sha]
        if what == "tree":
            self._json(
                [
                    {"type": "file", "path": p, "size": len(c), "oid": _blob(c)}
                    for p, c in files.items()
                ]
            )
        else:
            siblings = [{"rfilename": path} for path in files]
            self._json({"id": name, "sha": sha, "private": repo.private, "siblings": siblings})

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        repo = self._repo(kind, name)
        sha = self._sha(repo, revision) if repo else None
        if repo is None or sha is None:
            return
        if repo.gated:
            self._refuse(403, "GatedRepo")
            return
        if path not in repo.commits[sha]:
            self._refuse(404, "EntryNotFound")
            return
        content = repo.commits[sha][path]
        self._answer(
            200,
            content,
            ETag=f'"{_blob(content)}"',
            X_Repo_Commit=sha,
            Content_Length=str(len(content)),
        )

    def _create(self, wanted: dict[str, object]) -> None:
        has_token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not has_token:
            self._json({"error": "Invalid username or password."}, 401)
            return
        if not self.hub.may_write:
            self._json({"error": "You don't have the rights"}, 403)
            return
        name = "/".join(str(wanted[k]) for k in ("organization", "name") if wanted.get(k))
        key = f"models/{name}"
        if key in self.hub.repos:
            self._json({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
            return
        is_private = wanted.get("private") is True or wanted.get("visibility") == "private"
        self.hub.repos[key] = Repo(private=is_private)
        self.hub.repos[key].commit({".gitattributes": ""})
        self._json({"url": f"{self.hub.url}/{name}", "name": name, "id": name})

    def _lfs_batch(self, wanted: dict[str, list[dict[str, object]]]) -> None:
        objects = [
            {
                "oid": item["oid"],
                "size": item["size"],
                "actions": {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}},
            }
            for item in wanted["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: Repo, name: str, revision: str, body: bytes) -> None:
        files: dict[str, bytes | str] = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        sha = repo.commit(files, revision)
        url = f"{self.hub.url}/{name}/commit/{sha}"
        self._json({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def serve_hub() -> Iterator[Hub]:
    """A stand-in without repositories."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch, cache: Path, token: str = "") -> None:
    """Point the client library, which reads its environment once, to a stand-in and a cache."""
    from huggingface_hub import constants

    from convrec.catalog import hub_data

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", template.replace(constants.ENDPOINT, hub.url)
    )
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(cache / "no-tokens"))
    monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN", False)
    for known in ("_commits", "_branches", "_files"):
        monkeypatch.setattr(hub_data, known, {})


def environment(hub: Hub, cache: Path, token: str = "") -> dict[str, str]:
    """The variables that point another process to a stand-in."""
    values = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    return values | ({"HF_TOKEN": token} if token else {})
