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
from tests.support.expired_batch import replay_expired_batch
from tests.support.loaded_modules import loaded_modules
from tests.support.markdown import HOSTILE_TEXTS, one_line, rendered_texts
from tests.support.prefect_artifacts import artifacts_by_key


def only_run(home: Path) -> str:
    (record,) = (home / "runs").glob("*.json")
    return str(json.loads(record.read_text())["flow_run_id"])


def test_a_failure_artifact_has_error_rows_and_command(
    home: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    answers = tmp_path / "answers.jsonl"
    overrides = small | replay_expired_batch(answers, small)
    with pytest.raises(ConvrecError) as caught:
        pipeline(profile="demo", overrides=overrides, until="adjust")
    page = str(artifacts_by_key(only_run(home))["failure"].data)
    assert page.startswith("## recommend: teacher_lists failed")
    texts = rendered_texts(page.split("### To go on")[0])
    assert one_line(str(caught.value)) in texts
    assert texts.count("answers.jsonl has no line for this conversation") == failure.SHOWN_ROWS - 1
    assert texts.count("answers.jsonl: the batch reports batch_expired") == 1
    assert "(the first 20 of 34)" in page
    command = caught.value.resume
    assert command.startswith("convrec run demo --until adjust --set ")
    assert f"recommend.replay={answers}" in command
    assert command in page


def test_the_command_keeps_the_profile_path_and_checkpoint(
    home: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_bytes((ROOT / "profiles" / "demo.toml").read_bytes())
    with pytest.raises(InputError) as caught:
        pipeline(profile=str(profile), overrides={"model.base": "/no/such"})
    assert caught.value.resume == f"convrec run {profile} --set model.base=/no/such"
    with pytest.raises(InputError, match="neither a folder") as caught:
        evaluate(profile=str(profile), overrides=small, checkpoint="nope")
    assert caught.value.resume.startswith(
        f"convrec evaluate --profile {profile} --checkpoint nope --set "
    )
    with pytest.raises(
        InputError, match=rf"run `convrec run {profile} --until rank_grpo --set seed=8`"
    ):
        evaluate(profile=str(profile), overrides={"seed": 8})


def test_a_successful_run_has_no_failure_artifact(home: Path, small: dict[str, Any]) -> None:
    summary = pipeline(profile="demo", overrides=small, until="ingest")
    assert "failure" not in artifacts_by_key(summary["flow_run_id"])


def test_the_command_line_prints_the_error_and_a_command(home: Path) -> None:
    words = ["run", "demo", "--until", "ingest", "--set", "ingest.catalog=no such file.csv"]
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == InputError.exit_code
    sentence, resume = result.stderr.strip().splitlines()[-2:]
    assert sentence.startswith("convrec: ")
    assert "no such file.csv" in sentence
    assert resume.endswith(
        "convrec run demo --until ingest --set 'ingest.catalog=no such file.csv'"
    )


@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout(""), httpx.ConnectError("All connection attempts failed")]
)
def test_a_busy_server_is_reported_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "_run_flow", busy)
    monkeypatch.setattr(sys, "argv", ["convrec", "run", "demo"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    message = f"({str(error) or 'ReadTimeout'}); on a busy machine run again"
    assert message in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


@pytest.mark.parametrize("command", ["run demo", "evaluate --profile demo"])
def test_the_environment_is_set_before_prefect_reads_it(command: str) -> None:
    script = (
        "import sys; from flows import cli; "
        "cli.environment = lambda: sys.exit('prefect' in sys.modules); "
        f"cli.app({command.split()})"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_help_does_not_import_large_libraries() -> None:
    code = "from flows import cli; cli.app(['--help'], standalone_mode=False)"
    assert loaded_modules(code, "pydantic", "duckdb", "polars", "prefect") == set()


def test_an_absent_server_is_reported_in_one_line(tmp_path: Path) -> None:
    absent_server = {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "CONVREC_HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path),
    }
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", "demo", "--until", "ingest"],
        env=os.environ | absent_server, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "Failed to reach API at http://127.0.0.1:9/api" in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("convrec: the Prefect server did not answer")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_texts_are_escaped_in_the_artifact(text: str) -> None:
    error = TooManyFailures(f"failed: {text}")
    page = failure.page(NODES["judgments"], error, [("c1", text)] * 30, "convrec run demo")
    paragraphs = rendered_texts(page.split("### To go on")[0])
    assert one_line(str(error)) in paragraphs
    assert paragraphs.count(one_line(text)) == failure.SHOWN_ROWS
    assert "the first 20 of 30" in page


def test_an_unexpected_error_is_shown_by_its_first_line() -> None:
    assert failure.sentence(RuntimeError("out of\nmemory")) == "RuntimeError: out of"
    assert failure.sentence(KeyError()) == "KeyError: no message"


def test_an_absent_server_does_not_hide_the_error_of_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("All connection attempts failed")

    monkeypatch.setattr(failure, "publish_first", refuse)
    with pytest.raises(InputError, match="as it was"), Run("demo"):
        raise InputError("as it was")
