"""The model card of a checkpoint."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from huggingface_hub import ModelCard

from convrec.config import Config
from convrec.models.load import load_student
from convrec.models.plain_tokenizer import make_auto_tokenizer_agree
from convrec.models.prompts import encode_student_prompt, student_prompt
from convrec.stages.evaluate.report.card_metadata import (
    DataOrigin,
    base_license,
    front_matter,
    results,
    with_results,
)
from convrec.stages.evaluate.report.card_usage import EXAMPLE, prompt_text, usage_code, usage_text
from convrec.stages.evaluate.report.model_card import current_card, write_model_card
from convrec.stages.evaluate.report.tables import system_cells
from tests.support.evaluated_run import CONFIG, EvaluatedRun
from tests.support.micro import FILMS, TEXTS


def test_card_has_metrics_after_evaluation(evaluated_run: EvaluatedRun) -> None:
    name = evaluated_run.put_checkpoint_files()
    before = current_card(evaluated_run.store, name)
    assert "Not measured yet" in before
    assert "1,234 parameters" in before
    assert "base_model: org/base-model" in before
    assert "unconstrained" in before.lower()
    evaluated_run.put_metrics()
    path = write_model_card(evaluated_run.store, name)
    card = path.read_text(encoding="utf-8")
    assert path == evaluated_run.store.folder(name) / "README.md"
    assert "| rank_grpo (this) |" in card
    assert "60 test samples" in card


def _measure(run: EvaluatedRun) -> str:
    """Measure a checkpoint by its sampler, alone and as served; returns its id."""
    name = run.put_checkpoint_files()
    lists = run.store.read(run.refs["generations_rank_grpo"].artifact_id)
    for system, sampler in (("free", "free"), ("served", "constrained")):
        figures = {"sampler": sampler, "temperature": 0.5, "lists a post": 2}
        rows = lists.with_columns(pl.lit(system).alias("system"))
        run.put(f"generations_{system}", "generations", rows, stage="evaluate", figures=figures)
    run.put_metrics()
    return name


def test_the_front_matter_is_what_the_hub_reads(evaluated_run: EvaluatedRun) -> None:
    name = _measure(evaluated_run)
    card = ModelCard(current_card(evaluated_run.store, name), ignore_metadata_errors=False)
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert (data.base_model, data.language, data.license) == ("org/base-model", "en", None)
    assert {"convrec", "recommendation", "rank_grpo"} <= set(data.tags)
    newest = evaluated_run.refs["metrics"].artifact_id
    own = [result for result in data.eval_results if result.metric_args["artifact"] == newest]
    results = {result.metric_name: result for result in own}
    assert len(results) == len(own) == 12
    metrics = evaluated_run.store.read(newest)
    for system in ("rank_grpo", "free", "served"):
        result = results[f"ndcg@20 ({system})"]
        row = system_cells(metrics)[system]["ndcg@20"]
        assert result.metric_value == pytest.approx(row["value"], abs=1e-6)
        assert result.metric_args["low"] == pytest.approx(row["low"], abs=1e-6)
        assert result.dataset_split == "test"
    assert results["ndcg@20 (served)"].metric_args["sampler"] == "constrained"
    assert "sft" not in str(sorted(results))


def test_the_card_says_which_sampler_a_number_is_from(evaluated_run: EvaluatedRun) -> None:
    card = current_card(evaluated_run.store, _measure(evaluated_run))
    assert "| free (this) |" in card
    assert "| served (this) |" in card
    assert "| sft |" in card
    assert "| free | free | 0.5 | 2 |" in card
    assert "| served | constrained | 0.5 | 2 |" in card
    assert "with the quality of the row `served`" in card
    assert "Not measured yet" not in card


def test_a_later_evaluation_is_appended(evaluated_run: EvaluatedRun) -> None:
    name = _measure(evaluated_run)
    path = write_model_card(evaluated_run.store, name)
    assert path is not None
    first = path.read_text(encoding="utf-8")
    path.write_text(first.replace("## Use", "Mind the weather.\n\n## Use"), encoding="utf-8")
    rows = evaluated_run.store.read(evaluated_run.refs["metrics"].artifact_id)
    evaluated_run.put("second", "metrics", rows, stage="evaluate")
    assert write_model_card(evaluated_run.store, name) == path
    second = path.read_text(encoding="utf-8")
    assert write_model_card(evaluated_run.store, name) == path
    assert path.read_text(encoding="utf-8") == second
    ids = [evaluated_run.refs[role].artifact_id for role in ("metrics", "second")]
    sections = second.split("### Evaluation of ")
    assert [ids[0] in sections[-2], ids[1] in sections[-1]] == [True, True]
    assert len(sections) == len(first.split("### Evaluation of ")) + 1
    assert "Mind the weather." in second
    results = ModelCard(second).data.eval_results
    assert [r.metric_args["artifact"] for r in results][-24:] == [ids[0]] * 12 + [ids[1]] * 12


def test_data_on_the_hub_are_linked() -> None:
    sha = "5" * 40
    origin = DataOrigin("reddit-v2", f"hub:reader/films/v2@{sha}")
    row = {"ndcg@20": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}}
    matter = front_matter("checkpoint-1", base="tiny", stage="sft", serving=CONFIG, data=origin)
    text = with_results(f"{matter}\n\n# A model", results({"sft": row}, {}, origin, "metrics-1"))
    assert text.endswith("\n# A model")
    data = ModelCard(text).data
    assert (data.datasets, data.base_model) == (["reader/films"], None)
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_revision) == ("reader/films", sha)


def test_a_license_is_that_of_the_base_or_none(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    assert base_license(str(base)) == {}
    (base / "README.md").write_text("---\nlicense: other\nlicense_name: films-1\n---\n")
    assert base_license(str(base)) == {"license": "other", "license_name": "films-1"}
    (base / "README.md").write_text("---\nlicense: [\n---\n")
    assert base_license(str(base)) == {}
    assert base_license("org/base-model") == {}


def test_hostile_settings_stay_text() -> None:
    domain = {"noun": "film", "student": 'Say "hi"\\n`{conversation}````\n"""{n} {form}'}
    config = Config.model_validate({"domain": domain})
    code = usage_code(config)
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert {"before", "after"} <= names
    assert prompt_text(config).startswith('Say "hi"\\n`{conversation}````')


@pytest.mark.parametrize("template", ["", "<s>{{ messages[0].content }}\nA:"])
def test_the_code_builds_the_prompt_of_the_training(template: str, tmp_path: Path) -> None:
    """That it runs as written is tested where a whole folder is exported."""
    settings = {"hidden": 16, "layers": 1, "vocabulary": 300}
    config = Config.model_validate({"list_length": 2, "model": settings})
    student = load_student("tiny", config=config.model, texts=TEXTS, seed=1)
    tokenizer = student.tokenizer
    if template:
        tokenizer.chat_template = template
    student.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert make_auto_tokenizer_agree(tmp_path)
    items = [{"item_id": f, "title": f[:-7], "year": int(f[-5:-1]), "line": f} for f in FILMS]
    (tmp_path / "catalog.jsonl").write_text("\n".join(map(json.dumps, items)))
    code = usage_code(config, folder=str(tmp_path))
    code = code.replace("from catalog_lists", "from convrec.serving.exported.catalog_lists")
    scope: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, scope)
    ids = encode_student_prompt(tokenizer, student_prompt(EXAMPLE, None, config), config)
    assert scope["inputs"]["input_ids"][0].tolist() == ids
    lines = output.getvalue().splitlines()
    assert len(set(lines)) == 2
    assert set(lines) < set(FILMS) - {"Heat (1995)"}


def test_prompts_without_a_common_form_have_no_code() -> None:
    config = Config.model_validate({"model": {"prompt": "given"}})
    assert prompt_text(config) == ""
    text = usage_text(config)
    assert "cannot be put into one" in text
