"""The golden tests' only imports from the package: update this file after a rename.

The other files of this folder use public surfaces: the `convrec` command, Prefect's API, and the
files and SQL tables of a warehouse.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

OUTSIDE = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CONVREC_WAREHOUSE", "CONVREC_LAKE_DATA")
"""Environment variables that change what a command does."""


# -- the command line --------------------------------------------------------------------------


def command_line() -> tuple[Any, Any]:
    """The Typer app of `convrec`, and the entry point of the installed command."""
    from flows.cli import app, main

    return app, main


@dataclass(frozen=True)
class Ended:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output of `--json -`."""
        assert self.code == 0, self.err
        return json.loads(self.out)


class Typed(io.TextIOWrapper):
    """A standard input that is not a terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")


def convrec(
    *words: str | Path, home: Path, stdin: Any = "", env: Mapping[str, str] | None = None
) -> Ended:
    """Run a `convrec` command in this process with the warehouse in `home`."""
    _, main = command_line()
    before, arguments, given = dict(os.environ), sys.argv, sys.stdin
    handler = signal.getsignal(signal.SIGTERM)
    for name in OUTSIDE:
        os.environ.pop(name, None)
    os.environ |= {"CONVREC_HOME": str(home), **(env or {})}
    sys.argv = ["convrec", *map(str, words)]
    sys.stdin = Typed(stdin) if isinstance(stdin, str) else stdin
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv, sys.stdin = arguments, given
        signal.signal(signal.SIGTERM, handler)
        os.environ.clear()
        os.environ.update(before)
    if not isinstance(code, int):
        code = 0 if code is None else 1
    return Ended(code, out.getvalue(), err.getvalue())


def sets(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as `--set` options."""
    return [
        word for key, value in overrides.items() for word in ("--set", f"{key}={as_text(value)}")
    ]


def as_text(value: Any) -> str:
    """A value in the form that `--set` parses."""
    return value if isinstance(value, str) else json.dumps(value)


# -- flows and tasks ---------------------------------------------------------------------------

PACKAGES = ("convrec", "tasks", "flows")


def definitions() -> dict[str, Any]:
    """Every Prefect flow and task that the packages define, found in a fresh process."""
    program = (
        "import json\n"
        "from tests.golden.access import found_definitions\n"
        "print(json.dumps(found_definitions()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def found_definitions() -> dict[str, Any]:
    """The same in this process: import every module of the packages, then look for instances."""
    from prefect import Flow, Task

    for package in ("tasks", "flows"):
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    flows: dict[str, Any] = {}
    tasks: dict[str, Any] = {}
    for thing in gc.get_objects():
        if not isinstance(thing, Flow | Task):
            continue
        if thing.fn.__module__.partition(".")[0] not in PACKAGES:
            continue
        if isinstance(thing, Flow):
            parameters = form(thing)
            flows[f"{thing.name}({', '.join(parameters['properties'])})"] = {
                "parameters": parameters,
                "hooks": {
                    "crashed": len(thing.on_crashed_hooks),
                    "failed": len(thing.on_failure_hooks),
                    "cancelled": len(thing.on_cancellation_hooks),
                },
                "retries": thing.retries,
            }
        else:
            tasks[thing.name] = {
                "retries": thing.retries,
                "retry_delay_seconds": thing.retry_delay_seconds,
                "retries_some_only": thing.retry_condition_fn is not None,
                "persist_result": thing.persist_result,
                "cached": thing.cache_policy is not None
                and type(thing.cache_policy).__name__ not in ("_None", "NoneType"),
                "timeout_seconds": thing.timeout_seconds,
                "tags": sorted(thing.tags),
            }
    return {"flows": flows, "tasks": tasks}


def form(flow: Any) -> dict[str, Any]:
    """The parameter schema of a flow without descriptions."""
    schema = flow.parameters.model_dump()
    return {
        "required": sorted(schema.get("required") or []),
        "properties": {name: bare(field) for name, field in schema["properties"].items()},
        "definitions": bare(schema.get("definitions") or {}),
    }


def bare(field: Any) -> Any:
    """A JSON schema without descriptions."""
    if isinstance(field, dict):
        return {key: bare(value) for key, value in field.items() if key != "description"}
    return [bare(value) for value in field] if isinstance(field, list) else field


def deployed_flow(entrypoint: str) -> Any:
    """The flow behind an entrypoint of prefect.yaml."""
    module, _, name = entrypoint.partition(":")
    found = importlib.import_module(module.removesuffix(".py").replace("/", "."))
    return getattr(found, name)


# -- without a public surface ------------------------------------------------------------------


def load_config(profile: str, overrides: Mapping[str, Any]) -> Any:
    """A resolved configuration."""
    from convrec.config import load

    return load(profile, overrides)


def use_world_files(monkeypatch: Any, files: Sequence[Path]) -> None:
    """Let the ids of the demo's posts depend on these files, as those of an earlier demo did."""
    monkeypatch.setattr("convrec.stages.ingest.formats.world_files", lambda name: tuple(files))


def student_prompts(
    conversations: Sequence[tuple[str, str | None]], profile: str, overrides: Mapping[str, Any]
) -> list[str]:
    """The student's prompts for (conversation, given prompt) pairs, before the chat template."""
    from convrec.models.prompts import student_prompt

    config = load_config(profile, overrides)
    return [student_prompt(talk, given, config) for talk, given in conversations]


def rendered_prompts(folder: Path, texts: Sequence[str], most: int) -> list[tuple[str, list[int]]]:
    """Prompts in a checkpoint's chat template, truncated to `most` tokens, with their token ids."""
    from transformers import AutoTokenizer

    from convrec.models.prompts import encode_prompt, render_prompt

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        (render_prompt(tokenizer, text, most), encode_prompt(tokenizer, text, most))
        for text in texts
    ]


def artifact_id_of(
    node: str,
    parents: Mapping[str, tuple[str, str]],
    home: Path,
    profile: str,
    overrides: Mapping[str, Any],
) -> str:
    """The artifact id of a pipeline node; `parents` maps a role to (artifact id, kind).

    Works for nodes whose id does not depend on stored responses.
    """
    from convrec.artifacts import ArtifactRef, Store
    from convrec.pipeline.graph import NODES
    from convrec.stages.base import StepContext

    refs = {
        role: ArtifactRef(artifact_id=name, kind=kind, stage="", rows=1)
        for role, (name, kind) in parents.items()
    }
    found = NODES[node]
    config = found.adapt(load_config(profile, overrides))
    return str(found.step.spec(StepContext(config, Store(home), refs)).artifact_id)


def graph() -> dict[str, Any]:
    """The nodes of the pipeline in order, with stage, kind, version and parents."""
    from convrec.pipeline.graph import EXPERIMENTS, PIPELINE

    return {
        name: [
            {
                "name": node.name,
                "stage": node.stage,
                "kind": node.step.kind,
                "version": node.step.version,
                "reads": dict(node.reads),
            }
            for node in nodes
        ]
        for name, nodes in (("pipeline", PIPELINE), ("experiments", EXPERIMENTS))
    }


@contextlib.contextmanager
def events_of_catalogs() -> Iterator[list[dict[str, Any]]]:
    """Collect the events sent to Prefect inside the block."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tests.golden.stubs import recorder

    with recorder() as (url, received), temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        events: list[dict[str, Any]] = []
        yield events
        for path, _, body in received:
            if path.endswith("/events"):
                events.extend(body)
