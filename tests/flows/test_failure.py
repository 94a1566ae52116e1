from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from convrec.config import ROOT
from convrec.errors import ConvrecError, InputError, TooManyFailures
from convrec.pipeline.graph import NODES
from flows import cli
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from tasks import failure
from tasks.run import Run
from tests.flows.conftest import late
from tests.flows.test_artifacts_in_prefect import artifacts_of
from tests.support.loaded_modules import loaded_modules
from tests.support.markdown import HOSTILE_TEXTS, one_line, rendered_texts


def last_run(home: Path) -> str:
    (record,) = (home / "runs").glob("*.json")
    return str(json.loads(record.read_text())["flow_run_id"])


def test_a_failed_stage_leaves_the_sentence_the_rows_and_the_command(
    home: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    answers = tmp_path / "answers.jsonl"
    overrides = small | late(answers, small)
    with pytest.raises(ConvrecError) as caught:
        pipeline(profile="demo", overrides=overrides, until="adjust")
    left = artifacts_of(last_run(home))["failure"].data
    assert left.startswith("## remap: candidates failed")
    texts = rendered_texts(left.split("### To go on")[0])
    assert one_line(str(caught.value)) in texts
    assert texts.count("answers.jsonl has no line for this conversation") == failure.SHOWN_ROWS - 1
    assert texts.count("answers.jsonl: the batch reports batch_expired") == 1
    assert "(the first 20 of 34)" in left
    command = caught.value.resume
    assert command.startswith("convrec run demo --until adjust --set ")
    assert f"recommend.replay={answers}" in command
    assert command in left


def test_the_command_names_a_profile_by_its_path_and_the_checkpoint_that_was_asked_for(
    home: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_bytes((ROOT / "profiles" / "demo.toml").read_bytes())
    with pytest.raises(InputError) as caught:
        pipeline(profile=str(mine), overrides={"model.base": "/no/such"})
    assert caught.value.resume == f"convrec run {mine} --set model.base=/no/such"
    with pytest.raises(InputError, match="neither a folder") as caught:
        evaluate(profile=str(mine), overrides=small, checkpoint="nope")
    assert caught.value.resume.startswith(
        f"convrec evaluate --profile {mine} --checkpoint nope --set "
    )
    with pytest.raises(
        InputError, match=rf"run `convrec run {mine} --until rank_grpo --set seed=8`"
    ):
        evaluate(profile=str(mine), overrides={"seed": 8})


def test_a_run_that_succeeds_leaves_no_failure(home: Path, small: dict[str, Any]) -> None:
    summary = pipeline(profile="demo", overrides=small, until="ingest")
    assert "failure" not in artifacts_of(summary["flow_run_id"])


def test_the_command_line_says_the_sentence_and_how_to_go_on(home: Path) -> None:
    words = ["run", "demo", "--until", "ingest", "--set", "ingest.catalog=no such file.csv"]
    told = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words], capture_output=True, text=True, check=False
    )
    assert told.returncode == InputError.exit_code
    sentence, resume = told.stderr.strip().splitlines()[-2:]
    assert sentence.startswith("convrec: ")
    assert "no such file.csv" in sentence
    assert resume.endswith(
        "convrec run demo --until ingest --set 'ingest.catalog=no such file.csv'"
    )


@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout(""), httpx.ConnectError("All connection attempts failed")]
)
def test_a_server_that_does_not_answer_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "_run_flow", busy)
    monkeypatch.setattr(sys, "argv", ["convrec", "run", "demo"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = f"({str(error) or 'ReadTimeout'}); on a busy machine run again"
    assert said in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


@pytest.mark.parametrize("command", ["run demo", "evaluate --profile demo"])
def test_the_environment_is_set_before_prefect_reads_it(command: str) -> None:
    script = (
        "import sys; from flows import cli; "
        "cli.environment = lambda: sys.exit('prefect' in sys.modules); "
        f"cli.app({command.split()})"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_help_loads_nothing_that_it_does_not_print() -> None:
    code = "from flows import cli; cli.app(['--help'], standalone_mode=False)"
    assert loaded_modules(code, "pydantic", "duckdb", "polars", "prefect") == set()


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    away = {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "CONVREC_HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path),
    }
    told = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", "demo", "--until", "ingest"],
        env=os.environ | away, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert "Failed to reach API at http://127.0.0.1:9/api" in told.stderr.splitlines()[-1]
    assert told.stderr.splitlines()[-1].startswith("convrec: the Prefect server did not answer")
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_rows_and_sentences_from_outside_stand_as_text(text: str) -> None:
    error = TooManyFailures(f"failed: {text}")
    page = failure.page(NODES["judgments"], error, [("c1", text)] * 30, "convrec run demo")
    paragraphs = rendered_texts(page.split("### To go on")[0])
    assert one_line(str(error)) in paragraphs
    assert paragraphs.count(one_line(text)) == failure.SHOWN_ROWS
    assert "the first 20 of 30" in page


def test_an_error_that_nobody_expected_is_told_by_its_first_line() -> None:
    assert failure.sentence(RuntimeError("out of\nmemory")) == "RuntimeError: out of"
    assert failure.sentence(KeyError()) == "KeyError: no message"


def test_the_error_of_a_run_is_not_hidden_by_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("All connection attempts failed")

    monkeypatch.setattr(failure, "create_markdown_artifact", away)
    with pytest.raises(InputError, match="as it was"), Run("demo"):
        raise InputError("as it was")
