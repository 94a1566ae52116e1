"""The upload of an export, to a local stand-in of the Hub by the real client library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convrec.errors import ConvrecError, InputError
from convrec.serving.push import push_folder
from tests.support.hub_server import TOKEN, Hub, serve_hub, use_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve_hub() as hub:
        use_hub(hub, monkeypatch, tmp_path / "cache", TOKEN)
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "export"
    out.mkdir()
    (out / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A model\n")
    (out / "config.json").write_text("{}")
    (out / "model.safetensors").write_bytes(b"weights")
    return out


def _files(hub: Hub, name: str = "me/films") -> dict[str, bytes]:
    repo = hub.repos[f"models/{name}"]
    files = repo.commits[repo.refs["main"]]
    return {path: content for path, content in files.items() if path != ".gitattributes"}


def test_an_upload_has_all_files_and_is_private(hub: Hub, folder: Path) -> None:
    assert push_folder(folder, "me/films") == f"{hub.url}/me/films"
    assert _files(hub) == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.repos["models/me/films"].private


def test_a_second_upload_is_a_new_commit(hub: Hub, folder: Path) -> None:
    push_folder(folder, "me/films", public=True)
    assert not hub.repos["models/me/films"].private
    (folder / "config.json").write_text('{"changed": true}')
    push_folder(folder, "me/films", public=True)
    assert _files(hub)["config.json"] == b'{"changed": true}'
    assert len(hub.repos["models/me/films"].commits) == 3


def test_a_public_repository_needs_the_option(hub: Hub, folder: Path) -> None:
    hub.add("me/films", {"README.md": "old"}, kind="models")
    with pytest.raises(InputError, match=r"is public; add --public to upload; the export is in"):
        push_folder(folder, "me/films")
    assert _files(hub) == {"README.md": b"old"}


def test_no_token_is_a_sentence(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_hub(hub, monkeypatch, tmp_path / "cache")
    with pytest.raises(InputError, match=r"set HF_TOKEN.*; the export is in .*export"):
        push_folder(folder, "me/films")
    assert hub.asked == []
    assert (folder / "model.safetensors").is_file()


@pytest.mark.parametrize("token", [TOKEN, "hf_wrong"])
def test_a_token_that_may_not_write_is_refused(
    token: str, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.may_write = False
    use_hub(hub, monkeypatch, tmp_path / "cache", token)
    with pytest.raises(InputError, match=r"the Hub refuses|does not exist") as caught:
        push_folder(folder, "me/films")
    assert token not in str(caught.value)
    assert hub.repos == {}
    assert (folder / "model.safetensors").is_file()


def test_an_unreachable_hub_is_a_failure(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConvrecError, match="cannot be reached") as caught:
        push_folder(folder, "me/films")
    assert caught.value.exit_code == 1
    assert (folder / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["films", "me/films/x", "/films", "me/", "../films"])
def test_a_wrong_name_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(InputError, match="use owner/name"):
        push_folder(folder, name)
