"""A checkpoint is refused before its weights are read if its prompts have no common form."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.catalog.publish import publish_catalog
from convrec.config import Config
from convrec.errors import CatalogError, InputError
from convrec.models.manifest import serving_settings
from convrec.serving.catalogs import catalog_path
from convrec.serving.recommend import recommend, unknown_words


def test_prompts_without_a_common_form_are_not_served(store: Store, tmp_path: Path) -> None:
    trained = Config.model_validate({"model": {"prompt": "given"}, "list_length": 1})
    manifest = json.dumps({"serving": serving_settings(trained)})
    row = {"path": ".", "base": "tiny", "parameters": 1, "manifest": manifest}
    scratch = store.make_scratch_folder()
    (scratch / "weights").write_text("none")
    spec = ArtifactSpec(kind="checkpoint", stage="sft", version=1)
    ref = store.put(spec, StepResult(pl.DataFrame([row])), scratch=scratch)
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("title,year\nHeat,1995\nRonin,1998\n")
    with pytest.raises(InputError, match=r"model\.prompt=given\) that have no instruction in"):
        recommend(store, ref.artifact_id, "a film like Up", catalog=catalog, n=1)


def test_a_catalog_may_be_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(store.home))
    file = tmp_path / "films.csv"
    for titles in ("Heat,1995\nRonin,1998\n", "Heat,1995\nRonin,1998\nBig,1988\n"):
        file.write_text(f"title,year\n{titles}")
        publish_catalog(file, "films", store)
    first, newest = (catalog_path(f"catalog:films{at}") for at in ("@1", ""))
    assert "Big" not in first.read_text()
    assert "Big" in newest.read_text()
    assert catalog_path(str(file)) == catalog_path(file) == file
    with pytest.raises(CatalogError, match="catalog films has no version 3"):
        catalog_path("catalog:films@3")
    with pytest.raises(InputError, match="there is no catalog catalog:nothing"):
        catalog_path("catalog:nothing")


def test_words_that_training_never_saw_are_named(store: Store) -> None:
    rows = [
        ("train", "USER: I loved Heat. Something dark?"),
        ("test", "USER: Anything with zombies?"),
    ]
    conversations = pl.DataFrame(rows, ["split", "conversation"], orient="row")
    assert unknown_words("Something DARK with zombies, like heat", conversations) == [
        "with",
        "zombies",
        "like",
    ]
    assert unknown_words("It's über-dark: dark", conversations) == ["It's", "über-dark"]
    assert unknown_words("", conversations) == []
