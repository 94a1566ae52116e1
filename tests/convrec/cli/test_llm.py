from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from convrec.artifacts import Store
from convrec.cli.llm import app
from convrec.demo import server
from convrec.errors import InputError
from convrec.llm.response_store import ResponseStore
from tests.support.loaded_modules import loaded_modules
from tests.support.stored_responses import RESPONSE


def test_the_ledger_as_table_and_json(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(store.home))
    assert "The ledger is empty" in CliRunner().invoke(app, ["ledger"]).output
    ResponseStore(store).add([RESPONSE])
    output = CliRunner().invoke(app, ["ledger"]).output
    assert "demo-teacher" in output
    assert "reasoning" not in output  # all zero
    printed = CliRunner().invoke(app, ["ledger", "--json", "-"]).stdout
    assert json.loads(printed) == {
        "rows": [
            {
                "run": "r",
                "stage": "recommend",
                "model": "demo-teacher",
                "day": RESPONSE.created_at[:10],
                "origin": "live",
                "requests": 1,
                "prompt_tokens": 100,
                "cached_tokens": 0,
                "completion_tokens": 50,
                "reasoning_tokens": 0,
                "usd": 0.5,
            }
        ]
    }


@pytest.mark.parametrize(
    "words",
    [
        ["--log", "."],
        ["--log", "none/log.jsonl"],
        ["--state", "file"],
        ["--rpm", "0"],
        ["--tpm", "-1"],
        ["--latency-ms", "nan"],
        ["--batch-seconds", "-1"],
    ],
)
def test_invalid_server_options_are_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr(server, "demo_app", Mock(side_effect=AssertionError("it is served")))
    ended = CliRunner().invoke(app, ["serve-demo", "--port", "0", *words])
    assert getattr(ended.exception, "exit_code", ended.exit_code) == 2


@pytest.mark.parametrize("option", ["--cancel", "--release"])
def test_an_empty_batch_key_is_refused(
    option: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(store.home))
    with pytest.raises(InputError, match="no open batch ''"):
        CliRunner().invoke(app, ["batches", option, ""], catch_exceptions=False)


def test_the_commands_import_nothing_heavy() -> None:
    heavy = ("openai", "uvicorn", "starlette", "polars", "torch")
    assert loaded_modules("import convrec.cli.llm", *heavy) == set()
