"""The form of the data's prompts is found, recorded, and given to texts of users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.manifest import checkpoint_row, serving_config
from convrec.models.prompt_form import common_template
from convrec.models.prompts import served_prompt
from convrec.stages.ingest.chat import read_prompt
from tests.support.chat_tokenizers import family_tokenizer

TALK = ["I liked Heat", "USER: more like Up", "{n} films, please"]
GIVEN = Config.model_validate({"model": {"prompt": "given"}})


def pairs(before: str, after: str, talks: list[str] = TALK) -> list[tuple[str, str | None]]:
    return [(talk, f"{before}{talk}{after}") for talk in talks]


@pytest.mark.parametrize(
    ("before", "after", "template"),
    [
        ("Recommend. ", "", "Recommend. {conversation}"),
        ("", "\n\nAnswer with titles.", "{conversation}\n\nAnswer with titles."),
        ("As {json}: ", " }", "As {{json}}: {conversation} }}"),
        ("", "", "{conversation}"),
        (" \n", "\n", "{conversation}"),
    ],
)
def test_template_is_what_all_prompts_have(before: str, after: str, template: str) -> None:
    assert common_template(pairs(before, after)) == template


def test_speaker_of_all_conversations_is_part_of_the_template() -> None:
    talks = [f"USER: {number} films" for number in range(40)]
    assert common_template(pairs("Recommend. ", "", talks)) == "Recommend. USER: {conversation}"
    assert common_template(pairs("Recommend. ", "", [*talks, "no label"] * 3)) is not None


def test_a_few_other_prompts_do_not_matter() -> None:
    many = pairs("Recommend. ", "", [f"film {number}" for number in range(95)])
    others: list[tuple[str, str | None]] = [("x", None), ("y", "z"), ("", "Recommend. ")]
    assert common_template(many + others) == "Recommend. {conversation}"
    assert common_template(many[:20] + others) is None


def test_prompts_without_a_common_form_have_no_template() -> None:
    assert common_template(pairs("One. ", "")[:1] + pairs("Two. ", "")[:1]) is None
    assert common_template([]) is None


def served(prompts: list[tuple[str, str | None]], folder: Path, config: Config = GIVEN) -> Config:
    """The settings that a checkpoint trained on these prompts is served with."""
    frame = pl.DataFrame(prompts, ["conversation", "prompt"], orient="row")
    frame = frame.with_columns(split=pl.lit("train"))
    test = pl.DataFrame([("a", "b a", "test")] * 99, frame.columns, orient="row")
    row = checkpoint_row("tiny", 1, {}, config, folder, pl.concat([frame, test]))
    return serving_config(row["manifest"][0])


def test_served_prompts_have_the_form_of_the_data(tmp_path: Path) -> None:
    talks = [f"USER: {number} films" for number in range(40)]
    config = served(pairs("Recommend {20}. ", " Now.", talks), tmp_path)
    for text in ("like Heat", " like Heat\n", "USER: like Heat", "USER:like Heat"):
        assert served_prompt(text, config) == "Recommend {20}. USER: like Heat Now."
    assert served_prompt("User: {a}", config) == "Recommend {20}. USER: User: {a} Now."


def test_served_prompts_of_the_authors_data_are_theirs(shared: Path, tmp_path: Path) -> None:
    rows = (shared / "data" / "reddit_v2" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [read_prompt(json.loads(row)["prompt"]) for row in rows]
    config = served([(p.conversation, p.text) for p in prompts], tmp_path)
    for prompt in prompts:
        assert served_prompt(prompt.conversation, config) == prompt.text.strip()
        said = prompt.conversation.removeprefix("USER:").strip()
        assert served_prompt(said, config) == prompt.text.strip()
        assert "reply with 20 recommendations" in served_prompt(said, config)


def test_prompts_without_a_form_are_not_served(tmp_path: Path) -> None:
    config = served(pairs("One. ", "")[:1] + pairs("Two. ", "")[:1], tmp_path)
    assert config.model.prompt == "given"
    with pytest.raises(InputError, match=r"model\.prompt=given\) that have no instruction in"):
        served_prompt("like Heat", config)


@pytest.mark.parametrize("kind", ["plain", "instruct"])
def test_other_prompts_are_served_as_they_were_trained(kind: str, tmp_path: Path) -> None:
    trained = Config.model_validate({"model": {"prompt": kind}})
    config = served(pairs("Recommend. ", ""), tmp_path, trained)
    assert (config.model, config.domain) == (trained.model, trained.domain)


@pytest.mark.parametrize(("family", "day"), [("llama", "26 Jul 2024"), ("qwen", None)])
def test_day_of_the_template_is_in_the_manifest(
    family: str, day: str | None, tmp_path: Path
) -> None:
    from convrec.models.load import load_tokenizer

    family_tokenizer(family).save_pretrained(tmp_path / "base")
    load_tokenizer(tmp_path / "base").save_pretrained(tmp_path / "out")
    frame = pl.DataFrame(schema={"conversation": pl.String, "prompt": pl.String})
    row = checkpoint_row("base", 1, {}, Config(), tmp_path / "out", frame)
    manifest: dict[str, Any] = json.loads(row["manifest"][0])
    assert manifest.get("template_date") == day
