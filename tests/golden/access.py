"""Where the golden tests touch the package: the one file to mend when something is renamed.

Everything else in this folder goes through public surfaces: the `convrec` command, the Prefect
server, files and SQL tables of a warehouse. What has no such surface is reached from here.
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
"""Variables of the environment that would change what a command does."""


# -- the command line --------------------------------------------------------------------------


def command_line() -> tuple[Any, Any]:
    """The Typer app of `convrec`, and the function that the installed command calls."""
    from flows.cli import app, main

    return app, main


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What `--json -` wrote."""
        assert self.code == 0, self.err
        return json.loads(self.out)


class Typed(io.TextIOWrapper):
    """A standard input that is no terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")


def convrec(
    *words: str | Path, home: Path, stdin: Any = "", env: Mapping[str, str] | None = None
) -> Ended:
    """Run a command of `convrec` in this process, with a warehouse in `home`."""
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
    """Overrides as options of a command."""
    return [
        word for key, value in overrides.items() for word in ("--set", f"{key}={as_text(value)}")
    ]


def as_text(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


# -- flows and tasks ---------------------------------------------------------------------------

PACKAGES = ("convrec", "tasks", "flows")


def definitions() -> dict[str, Any]:
    """Every Prefect flow and task that the packages define, in a process of its own."""
    program = (
        "import json\n"
        "from tests.golden.access import found_definitions\n"
        "print(json.dumps(found_definitions()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def found_definitions() -> dict[str, Any]:
    """The same, in this process. Whatever the modules are called, all of them are imported."""
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
            key = f"{thing.name} | {thing.flow_run_name}"
            flows[key] = {
                "name": thing.name,
                "flow_run_name": str(thing.flow_run_name),
                "parameters": form(thing),
                "hooks": {
                    "crashed": len(thing.on_crashed_hooks),
                    "failed": len(thing.on_failure_hooks),
                    "cancelled": len(thing.on_cancellation_hooks),
                },
                "retries": thing.retries,
            }
        else:
            own = thing.task_run_name
            tasks[thing.name] = {
                "task_run_name": own if isinstance(own, str) else "computed" if own else None,
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
    """The parameters of a flow as its form shows them, without the prose."""
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
    """The flow of an entrypoint of prefect.yaml."""
    module, _, name = entrypoint.partition(":")
    found = importlib.import_module(module.removesuffix(".py").replace("/", "."))
    return getattr(found, name)


# -- what has no public surface ----------------------------------------------------------------


def load_config(profile: str, overrides: Mapping[str, Any]) -> Any:
    """A resolved configuration."""
    from convrec.config import load

    return load(profile, overrides)


def student_prompts(
    conversations: Sequence[tuple[str, str | None]], profile: str, overrides: Mapping[str, Any]
) -> list[str]:
    """What the student reads for (conversation, prompt of the data), before the chat template."""
    from convrec.models.prompts import student_prompt

    config = load_config(profile, overrides)
    return [student_prompt(talk, given, config) for talk, given in conversations]


def rendered_prompts(folder: Path, texts: Sequence[str], most: int) -> list[tuple[str, list[int]]]:
    """The same in the chat template of a checkpoint, cut to `most` tokens, and its token ids."""
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
    """The id that a node of the pipeline would have; `parents` are role → (artifact id, kind).

    For nodes whose id does not hang on what is stored.
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
    """The pipeline's nodes in order: what each makes, at which version, and what it reads."""
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
    """The events that are sent while the block lasts: what a Prefect server would be told."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tests.golden.stubs import recorder

    with recorder() as (url, told), temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        events: list[dict[str, Any]] = []
        yield events
        for path, _, body in told:
            if path.endswith("/events"):
                events.extend(body)
