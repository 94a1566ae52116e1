from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from convrec.artifacts import StepResult, Store
from convrec.artifacts.identity import ArtifactSpec
from convrec.config import Config, load
from convrec.demo import complete
from convrec.errors import InputError
from convrec.llm.fetch import FetchResult
from convrec.llm.ledger import ledger_rows
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.node_state import Resolver
from convrec.pipeline.reparse import import_file, reparse_responses, response_nodes
from convrec.stages.responses import fetch_responses
from flows.cli import app

SMALL = {
    "ingest.contexts": {"train": 6, "validation": 2, "test": 2},
    "list_length": 5,
    "reflect.top": 6,
    "remap.keep": 8,
    "remap.describe": "off",
}


@pytest.fixture
def config() -> Config:
    return load("demo", SMALL)


def answers_of(config: Config, store: Store, stage: str, custom_id: str) -> list[dict[str, Any]]:
    for node, _, ctx in response_nodes(config, store):
        if node.stage == stage:
            return [
                {
                    "id": "x",
                    "custom_id": getattr(request, custom_id),
                    "response": {"status_code": 200, "body": complete(dict(request.body))},
                    "error": None,
                }
                for request in node.step.responses.requests(ctx)
            ]
    raise AssertionError(stage)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("custom_id", ["key", "owner"])
def test_an_import_binds_lines_by_key_or_by_conversation(
    config: Config, store: Store, tmp_path: Path, custom_id: str
) -> None:
    rows = answers_of(config, store, "recommend", custom_id)
    file = write(tmp_path / "out.jsonl", [*rows, {**rows[0], "custom_id": "someone-else"}])
    (teacher,) = import_file(file, config, "recommend", store)
    assert (teacher.lines, teacher.matched, teacher.imported) == (
        len(rows) + 1,
        len(rows),
        len(rows),
    )
    assert ledger_rows(store) == []
    (again,) = import_file(file, config, "recommend", store)
    assert (again.matched, again.imported) == (len(rows), 0)


def test_without_a_profile_only_open_batches_are_known(store: Store, tmp_path: Path) -> None:
    row = {"custom_id": "talk-1", "response": None, "error": None}
    with pytest.raises(InputError, match="--profile"):
        import_file(write(tmp_path / "out.jsonl", [row]), None, "", store)


def test_a_replay_for_other_conversations_is_refused(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    replay = {"recommend.source": "replay", "recommend.replay": str(file)}
    config = load("demo", SMALL | replay)
    node, _, ctx = next(response_nodes(config, store))
    rows = answers_of(config, store, "recommend", "owner")

    def asked(answers: list[dict[str, Any]]) -> FetchResult:
        write(file, answers)
        return fetch_responses(node.step, ctx, run="r", spent_usd=0.0, progress=lambda *_: None)

    for strangers in ([], [{**rows[0], "custom_id": "someone-else"}]):
        with pytest.raises(InputError, match=f"no line of .*out.jsonl.*{rows[0]['custom_id']}"):
            asked(strangers)
    assert asked(rows[:2]).from_ledger == 2
    with pytest.raises(InputError, match="no line of"):
        asked([])
    asked(rows)
    assert asked([]).from_ledger == len(rows)


def test_the_real_gpt_answers_import_at_no_cost(shared: Path, store: Store, tmp_path: Path) -> None:
    folder = shared / "data" / "inspired"
    config = load("inspired-replay", {"ingest.path": str(folder)})
    done = import_file(folder / "gpt-3.5-turbo.batch_output.jsonl", config, "recommend", store)
    assert done[0].lines == 228
    assert done[0].matched == done[0].imported == 227  # one turn recommends nothing new
    assert ledger_rows(store) == []


def test_reading_again_sends_nothing_and_says_what_changed(
    config: Config, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("recommend", "reflect"):
        file = write(tmp_path / f"{stage}.jsonl", answers_of(config, store, stage, "key"))
        import_file(file, config, stage, store)
    for node, _, ctx in response_nodes(config, store):
        store.put(node.step.spec(ctx), node.step.build(ctx))
    assert reparse_responses(config, store)[0].state == "same"

    from convrec.stages.recommend import step as recommend
    from convrec.stages.recommend.parse import read_list

    monkeypatch.setattr(
        recommend, "read_list", lambda answer, config: (read_list(answer, config)[0][1:], "")
    )
    first = reparse_responses(config, store)[0]
    assert (first.state, first.changed > 0) == ("unversioned", True)
    assert ledger_rows(store) == []


THOUGHT = "Heat comes to mind.\n1. Heat (1995)\nNo."
WRAPPINGS: list[Callable[[str], Any]] = [
    lambda text: f"```\n{text}\n```",
    lambda text: f"<think>{THOUGHT}</think>\n\n{text}",
    lambda text: f"{THOUGHT}</think>\n{text}",
    lambda text: [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": text}],
    lambda text: f"<|channel|>analysis<|message|>{THOUGHT}<|channel|>final<|message|>{text}",
]


def import_answers(config: Config, store: Store, file: Path, *, wrapped: bool) -> None:
    for stage in ("recommend", "reflect"):
        rows = answers_of(config, store, stage, "key")
        for row, wrap in zip(rows, cycle(WRAPPINGS), strict=False):
            message = row["response"]["body"]["choices"][0]["message"]
            if wrapped:
                message["content"] = wrap(message["content"])
        import_file(write(file, rows), config, stage, store)


def built(config: Config, store: Store) -> dict[str, tuple[ArtifactSpec, pl.DataFrame]]:
    nodes = response_nodes(config, store)
    return {node.stage: (node.step.spec(ctx), node.step.build(ctx).rows) for node, _, ctx in nodes}


def test_wrapped_answers_are_read_again_under_a_new_id(
    config: Config, store: Store, tmp_path: Path
) -> None:
    plain = Store(tmp_path / "plain")
    import_answers(config, plain, tmp_path / "o.jsonl", wrapped=False)
    import_answers(config, store, tmp_path / "o.jsonl", wrapped=True)
    resolver = Resolver(config, store)
    for parent in resolver.nodes(("ingest",)):
        resolved = resolver.resolve(parent)
        store.put(parent.step.spec(resolved.ctx), parent.step.build(resolved.ctx))
        resolver.take(resolver.resolve(parent))
    expected = built(config, plain)
    for stage, (spec, rows) in built(config, store).items():
        same_spec, same_rows = expected[stage]
        assert "reading" not in same_spec.inputs
        assert spec.inputs.keys() == {*same_spec.inputs, "reading"}
        columns = ["context_id", "title"] if stage == "recommend" else ["item_id", "rating"]
        assert rows.select(columns).equals(same_rows.select(columns))
    spec, rows = built(config, store)["recommend"]
    first = replace(spec, inputs={name: spec.inputs[name] for name in ("answers",)})
    store.put(first, StepResult(rows.head(1), {}))  # of the first version of the parser
    teacher, judge = reparse_responses(config, store)
    assert (teacher.state, teacher.changed, teacher.failed) == ("new", 10, 0)
    assert (judge.state, judge.failed) == ("new", 0)
    assert store.read(teacher.artifact_id).equals(rows)
    assert reparse_responses(config, store)[0].state == "same"
    assert ledger_rows(store) == []


def test_the_commands_print_and_write_json(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("CONVREC_HOME", str(home))
    file = write(tmp_path / "o.jsonl", answers_of(config, Store(home), "recommend", "owner"))
    options = [
        word for name, value in SMALL.items() for word in ("--set", f"{name}={json.dumps(value)}")
    ]
    run = CliRunner().invoke
    imported = run(app, ["llm", "import", str(file), "--profile", "demo", *options])
    assert "responses imported, 0 already stored" in imported.output
    figures = json.loads(run(app, ["llm", "reparse", "demo", "--json", "-", *options]).stdout)
    assert [row["stage"] for row in figures["stages"]] == ["recommend", "reflect"]
    assert len(ResponseStore(Store(home)).digests([])) == 0


def test_where_nothing_is_stored_the_sentence_is_about_that(
    config: Config, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="names a request of ours"):
        import_file(write(tmp_path / "o.jsonl", []), config, "", store)
    with pytest.raises(InputError, match="no answer of the teacher is stored for profile demo"):
        reparse_responses(config, store)
