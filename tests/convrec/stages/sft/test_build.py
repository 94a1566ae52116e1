from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.config import Config
from convrec.models.load import load_checkpoint
from convrec.models.manifest import serving_config, serving_settings
from convrec.models.prompts import served_prompt
from convrec.stages.base import StepContext
from convrec.stages.sft import SFT
from convrec.stages.sft.build import training_rows
from tests.support.micro import ROWS

CONVERSATIONS = pl.DataFrame(
    {
        "sample_id": ["s1", "s2", "s3", "s4"],
        "context_id": ["c1", "c1", "c2", "c3"],
        "split": ["train", "train", "train", "validation"],
        "created_utc": [1, 1, 2, 3],
        "conversation": ["first", "first", "second", "third"],
        "prompt": ["p1", "p2", "p3", "p4"],
        "seen": [[]] * 4,
        "ground_truth": [[]] * 4,
        "completion": [None] * 4,
    },
    schema_overrides={
        "seen": pl.List(pl.Struct({"title": pl.String, "year": pl.Int32})),
        "ground_truth": pl.List(pl.Struct({"title": pl.String, "year": pl.Int32})),
        "completion": pl.String,
    },
)


def demonstrations(rows: list[tuple[str, str | None, str, str]]) -> pl.DataFrame:
    columns = ["context_id", "sample_id", "split", "completion"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return frame.with_columns(items=pl.lit([], dtype=pl.List(pl.String)))


def test_one_row_per_demonstration(micro: Config) -> None:
    frame = demonstrations(
        [
            ("c1", None, "train", "A"),
            ("c1", "s2", "train", "B"),
            ("c2", None, "train", ""),
            ("c3", None, "validation", "C"),
        ]
    )
    assert training_rows(CONVERSATIONS, frame, "train", micro) == [("first", "A"), ("first", "B")]
    assert training_rows(CONVERSATIONS, frame, "validation", micro) == [("third", "C")]
    given_prompt = micro.model_copy(
        update={"model": micro.model.model_copy(update={"prompt": "given"})}
    )
    assert training_rows(CONVERSATIONS, frame, "train", given_prompt) == [("p1", "A"), ("p2", "B")]


def test_step_builds_a_checkpoint_artifact(micro: Config, store: Store) -> None:
    spec = ArtifactSpec("conversations", "ingest", 1)
    conversations = store.put(spec, StepResult(CONVERSATIONS))
    frame = demonstrations([("c1", None, "train", ROWS[0][1]), ("c3", None, "validation", "Up")])
    shown = store.put(ArtifactSpec("demonstrations", "adjust", 1), StepResult(frame))
    parents = {"conversations": conversations, "demonstrations": shown}
    ctx = StepContext(
        config=micro, store=store, parents=parents, scratch=store.make_scratch_folder()
    )
    spec = SFT.spec(ctx)
    ref = store.put(spec, SFT.build(ctx), scratch=ctx.scratch)
    row = store.read(ref.artifact_id).row(0, named=True)
    model = load_checkpoint(store.folder(ref.artifact_id)).model
    assert (row["path"], row["base"]) == (".", "tiny")
    assert row["parameters"] == model.num_parameters()
    manifest = json.loads(row["manifest"])
    assert manifest["seed"] == micro.seed
    assert set(store.curves(ref.artifact_id)["name"]) == {"loss", "validation_loss"}
    served = Config.model_validate(manifest["serving"])
    assert (served.model, served.list_length) == (micro.model, micro.list_length)


def test_step_records_the_form_of_prompts_in_the_data(micro: Config, store: Store) -> None:
    given = micro.model_copy(update={"model": micro.model.model_copy(update={"prompt": "given"})})
    prompts = pl.format("Name three films. {} Go.", pl.col("conversation"))
    spec = ArtifactSpec("conversations", "ingest", 1)
    conversations = store.put(spec, StepResult(CONVERSATIONS.with_columns(prompt=prompts)))
    frame = demonstrations([("c1", None, "train", ROWS[0][1])])
    shown = store.put(ArtifactSpec("demonstrations", "adjust", 1), StepResult(frame))
    parents = {"conversations": conversations, "demonstrations": shown}
    scratch = store.make_scratch_folder()
    built = SFT.build(StepContext(config=given, store=store, parents=parents, scratch=scratch))
    manifest = built.rows["manifest"][0]
    served = serving_config(manifest)
    assert served_prompt("like Heat", served) == "Name three films. like Heat Go."
    assert json.loads(manifest)["model"]["prompt"] == "given"


def test_serving_settings_are_valid_for_any_length() -> None:
    config = Config.model_validate(
        {"list_length": 80, "remap": {"keep": 90}, "reflect": {"top": 85}}
    )
    assert Config.model_validate(serving_settings(config)).list_length == 80


def test_the_key_has_the_settings_of_the_weights(
    micro: Config, store: Store, tmp_path: Path
) -> None:
    def key(config: Config) -> str:
        return SFT.spec(StepContext(config=config, store=store)).artifact_id

    def with_base(folder: Path) -> Config:
        model = micro.model.model_copy(update={"base": str(folder)})
        return micro.model_copy(update={"model": model})

    assert key(micro) == key(micro.model_copy(update={"domain": "book"}))
    assert key(micro) != key(micro.model_copy(update={"seed": 8}))
    (tmp_path / "weights").write_text("one")
    before = key(with_base(tmp_path))
    (tmp_path / "weights").write_text("two")
    assert key(with_base(tmp_path)) != before


def test_importing_the_stage_imports_no_torch() -> None:
    code = (
        "import sys, convrec.stages.sft, convrec.models.prompts; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
