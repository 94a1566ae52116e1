"""Data sets on the Hub, read from a local stand-in by the real client library."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.catalog.hub_data import parse_hub_name, pin_hub_revisions
from convrec.catalog.selection import hub_catalog, load_with_catalog
from convrec.config import Config
from convrec.errors import InputError
from convrec.pipeline.plan import make_plan
from convrec.stages.base import StepContext
from convrec.stages.ingest import CATALOG, CONVERSATIONS, QUARANTINE, read_data
from tests.support.conversation_files import CATALOG as CATALOG_ROWS
from tests.support.conversation_files import post
from tests.support.hub_server import TOKEN, Hub, Repo, serve_hub, use_hub

NAME = "hub:reader/films"


def _lines(*texts: str) -> str:
    return "".join(json.dumps(post(f"USER: {text}")) + "\n" for text in texts)


FILES: dict[str, bytes | str] = {
    "train.jsonl": _lines("one", "two"),
    "validation.jsonl": _lines("three"),
    "test.jsonl": _lines("four"),
    "catalog.csv": CATALOG_ROWS,
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve_hub() as hub:
        use_hub(hub, monkeypatch, tmp_path / "cache")
        yield hub


@pytest.fixture
def films(hub: Hub) -> Repo:
    return hub.add("reader/films", FILES)


def _config(name: str = NAME, **overrides: str) -> Config:
    return load_with_catalog("reddit-v2", {"ingest.path": name, **overrides})


def _splits(config: Config) -> dict[str, list[str]]:
    """Split → its conversations, in order."""
    rows = read_data(config).conversations.select("split", "conversation")
    return {
        str(split): [text.removeprefix("USER: ") for text in part["conversation"]]
        for (split,), part in rows.group_by("split", maintain_order=True)
    }


def _ids(config: Config, store: Store) -> list[str]:
    context = StepContext(config, store)
    return [step.spec(context).artifact_id for step in (CATALOG, CONVERSATIONS, QUARANTINE)]


def _restart(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str = "") -> None:
    """Forget what this process knows, as another process would not know it."""
    hub.asked.clear()
    use_hub(hub, monkeypatch, tmp_path / "cache", token)


def test_a_data_set_is_read_as_a_folder_is(films: Repo, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(str(content), encoding="utf-8")
    local = read_data(load_with_catalog("reddit-v2", {"ingest.path": str(tmp_path)}))
    remote = read_data(_config())
    assert remote.conversations.equals(local.conversations)
    assert remote.catalog.equals(local.catalog)
    assert remote.conversations["split"].to_list() == ["test", "train", "train", "validation"]


def test_a_second_run_asks_the_hub_nothing(
    hub: Hub, films: Repo, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pinned = _config()
    assert pinned.ingest.path == f"{NAME}@{films.refs['main']}"
    first = read_data(pinned).conversations
    ids = _ids(pinned, store)
    _restart(hub, monkeypatch, tmp_path)
    hub.status = 503
    assert _ids(pinned, store) == ids
    assert read_data(pinned).conversations.equals(first)
    assert hub.asked == []


@pytest.mark.parametrize("offline", [True, False])
def test_a_branch_works_offline(
    offline: bool,
    hub: Hub,
    films: Repo,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    read_data(_config())
    _restart(hub, monkeypatch, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    if not offline:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING, "convrec"):
        config = _config()
    assert _splits(config)["test"] == ["four"]
    assert config.ingest.path.endswith(films.refs["main"])
    assert "is read as it was downloaded last" in caplog.text


def test_a_branch_that_moved_gives_new_data(
    hub: Hub,
    films: Repo,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = films.refs["main"]
    read_data(_config())
    ids = _ids(_config(), store)
    new = films.commit({"test.jsonl": _lines("five")})
    _restart(hub, monkeypatch, tmp_path)
    with caplog.at_level(logging.WARNING, "convrec"):
        moved = _config()
    assert f"moved from commit {old} to {new}" in caplog.text
    assert _splits(moved)["test"] == ["five"]
    assert set(_ids(moved, store)).isdisjoint(ids)
    pinned = _config(f"{NAME}@{old}")
    assert _ids(pinned, store) == ids
    assert _splits(pinned)["test"] == ["four"]


def test_plan_downloads_nothing(hub: Hub, films: Repo, store: Store) -> None:
    plan = make_plan(_config(), store)
    assert not [path for path in hub.asked if "/resolve/" in path or "/tree/" in path]
    assert {row["state"] for row in plan["stages"]} == {"would_run"}
    assert plan["llm"]["teacher"]["requests"] is None
    assert plan["llm"]["judge"]["usd_high"] is None
    read_data(_config())
    assert make_plan(_config(), store)["llm"]["teacher"]["requests"] == 4


def test_an_interrupted_download_is_not_taken_for_the_data(
    hub: Hub, films: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = _config()
    read_data(config)
    _restart(hub, monkeypatch, tmp_path)
    (file,) = (tmp_path / "cache").rglob("snapshots/*/test.jsonl")
    file.unlink()
    hub.status = 503
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        read_data(config)
    hub.status = 0
    assert _splits(config)["test"] == ["four"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hub:reader/books", "reader/books does not exist on the Hub, or is private"),
        (f"{NAME}@draft", "has no revision 'draft'"),
        (f"{NAME}@{'0' * 40}", f"has no revision '{'0' * 40}'"),
        (f"{NAME}/2019@main", "has no 2019; the files of reader/films are train.jsonl,"),
        ("hub:reader", "is not a name on the Hub; use hub:owner/name"),
        ("hub:reader/films/../x", "is not a name on the Hub"),
        ("hub:reader/films@../../x", "is not a name on the Hub"),
        ("hub:-/..", "is not a name on the Hub|does not exist"),
    ],
)
def test_wrong_names_are_refused_in_a_sentence(name: str, message: str, films: Repo) -> None:
    with pytest.raises(InputError, match=message):
        _config(name)


def test_private_data_need_a_token(
    hub: Hub, films: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    films.private = True
    with pytest.raises(InputError, match=r"set HF_TOKEN, or log in with `hf auth login`"):
        _config()
    _restart(hub, monkeypatch, tmp_path, TOKEN)
    assert _splits(_config())["test"] == ["four"]


def test_gated_data_are_refused_in_a_sentence(films: Repo) -> None:
    films.gated = True
    with pytest.raises(InputError, match="is gated; accept its terms on its page"):
        read_data(_config())


def test_no_network_is_a_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"the Hub cannot be reached \(ConnectError\)"):
        _config()
    hub.status = 500
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        _config()


CARD = """---
license: mit
configs:
- config_name: posts
  default: true
  data_files:
  - {split: train, path: "posts/a-*.jsonl"}
  - {split: test, path: posts/b.jsonl}
- config_name: items
  data_files: catalog.csv
---
"""


def test_the_card_declares_the_splits(hub: Hub) -> None:
    files = {"posts/a-1.jsonl": _lines("one"), "posts/a-2.jsonl": _lines("two")}
    rest = {"posts/b.jsonl": _lines("three"), "posts/old-test.jsonl": _lines("four")}
    hub.add("reader/films", {"README.md": CARD, "catalog.csv": CATALOG_ROWS, **files, **rest})
    config = _config()
    assert _splits(config) == {"train": ["one", "two"], "test": ["three"]}
    unread = read_data(config).quarantine.filter(pl.col("line") == 0)
    assert unread.select("source", "reason").rows() == [
        ("posts/old-test.jsonl", "not read: the card of the data set does not name it")
    ]


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("configs: 3", "README.md of hub:reader/films@.* cannot be read"),
        ("configs: [", "README.md of hub:reader/films@.* cannot be read"),
        (
            "configs:\n- {config_name: a, data_files: a.jsonl}\n"
            "- {config_name: b, data_files: b.jsonl}",
            "has the configurations a, b, and none is the default",
        ),
        (
            "configs:\n- config_name: a\n  data_files:\n  - {split: gold, path: a.jsonl}",
            "a split 'gold', which is not train, validation or test",
        ),
        ("configs:\n- {config_name: a, data_files: x.jsonl}", "has no file of its split 'train'"),
        ("configs:\n- {config_name: a, data_files: ../../x}", "names files outside"),
        ("configs:\n- {config_name: a, data_files: 'http://127.0.0.1/x'}", "names files outside"),
        ("configs:\n- {config_name: a, data_files: /etc/passwd}", "names files outside"),
    ],
)
def test_a_broken_card_is_refused(card: str, message: str, hub: Hub) -> None:
    hub.add("reader/films", {**FILES, "README.md": f"---\n{card}\n---\n"})
    with pytest.raises(InputError, match=message):
        read_data(_config())


def test_a_folder_a_file_and_a_catalog_can_be_named(hub: Hub) -> None:
    below = {f"v2/{name}": content for name, content in FILES.items()}
    hub.add("reader/films", {**below, "v1/train.jsonl": _lines(*"abc"), "items.csv": CATALOG_ROWS})
    assert _splits(_config(f"{NAME}/v2"))["train"] == ["one", "two"]
    downloaded = [path for path in hub.asked if path.startswith("GET") and "/resolve/" in path]
    assert len(downloaded) == len(FILES)
    single = _config(f"{NAME}/v2/train.jsonl@main")
    assert read_data(single).conversations.height == 2
    with pytest.raises(InputError, match=r"has no catalog.csv and no catalog.parquet"):
        read_data(_config(f"{NAME}/v1"))
    other = _config(f"{NAME}/v1", **{"ingest.catalog": f"{NAME}/items.csv"})
    assert read_data(other).catalog.height == 2


def test_weights_and_pictures_are_not_downloaded(hub: Hub) -> None:
    hub.add("reader/films", {**FILES, "model.safetensors": b"0", "cover.png": b"0"})
    read_data(_config())
    assert not [path for path in hub.asked if "safetensors" in path or "png" in path]


def test_the_sources_of_a_profile_are_pinned_too(films: Repo) -> None:
    sections = {"ingest": {"path": NAME, "limit": 3}, "recommend": {"source": "provided"}}
    config = Config.model_validate({"sources": {"films": sections, "other": {"ingest": {}}}})
    pinned = pin_hub_revisions(config).sources
    assert pinned["films"]["ingest"] == {"path": f"{NAME}@{films.refs['main']}", "limit": 3}
    assert pinned["films"]["recommend"] == {"source": "provided"}
    assert pinned["other"] == {"ingest": {}}


def test_a_catalog_file_replaces_that_of_the_hub(
    hub: Hub, films: Repo, store: Store, tmp_path: Path
) -> None:
    assert hub_catalog(_config()) is not None
    file = tmp_path / "own.csv"
    file.write_text(CATALOG_ROWS, encoding="utf-8")
    assert hub_catalog(_config(**{"ingest.catalog": str(file)})) is None
    own = _ids(_config(**{"ingest.catalog": str(file)}), store)
    assert own[1] == _ids(_config(), store)[1]  # conversations do not depend on the catalog


def test_paths_that_are_no_names_stay_paths() -> None:
    assert parse_hub_name("data/hub:x", "ingest.path") is None
    source = parse_hub_name("hub:a/b/c/d@refs/pr/1", "ingest.path")
    assert source == ("a/b", "c/d", "refs/pr/1")
    assert str(source) == "hub:a/b/c/d@refs/pr/1"
