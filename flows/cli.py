"""The `convrec` command: runs flows, and mounts the command groups of `convrec.cli`.

Commands import what they need when they run, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from convrec import __version__
from convrec.cli.artifacts import app as artifacts_app
from convrec.cli.catalog import app as catalog_app
from convrec.cli.llm import app as llm_app
from convrec.cli.output import Assignments, JsonFile, ProfileName, console, is_stdout, write_json
from convrec.cli.plan import plan
from convrec.cli.responses import import_responses, reparse
from convrec.cli.score import compare, score
from convrec.cli.serving import export, recommend
from convrec.cli.train import app as train_app
from convrec.errors import ConfigError, ConvrecError, WarehouseError, is_disk_full
from flows.publish import publish

app = typer.Typer(
    name="convrec",
    help="Conversations, a changing catalog and a teacher LLM into a small recommender LLM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convrec {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _check_stage(value: str | None) -> None:
    from convrec.config import STAGES

    if value is not None and value not in STAGES:
        raise ConfigError(f"{value!r} is not a stage; the stages are {', '.join(STAGES)}")


@app.command()
def run(
    profile: ProfileName,
    until: Annotated[str | None, typer.Option(help="Last stage to run.")] = None,
    refresh: Annotated[
        str | None,
        typer.Option(help="Recompute from this stage on; buys no response again."),
    ] = None,
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Run the pipeline of PROFILE: all eight stages; unchanged ones come from the cache."""
    from convrec.catalog.selection import load_with_catalog, unpublished_edit
    from convrec.config import parse_overrides

    overrides = parse_overrides(assignments or [])
    _check_stage(until)
    _check_stage(refresh)
    # Refuse wrong input before Prefect starts.
    if note := unpublished_edit(load_with_catalog(profile, overrides)):
        typer.echo(f"convrec: {note}", err=True)
    environment()
    summary = _run_flow(
        {"profile": profile, "overrides": overrides, "until": until, "refresh": refresh},
        quiet=is_stdout(json_file),
    )
    write_json(summary, json_file)


@app.command()
def evaluate(
    profile: Annotated[str, typer.Option(help="A shipped profile, or a path to a .toml file.")],
    checkpoint: Annotated[
        str,
        typer.Option(help="Folder or id of a model; by default those of the profile."),
    ] = "",
    assignments: Assignments = None,
    json_file: JsonFile = None,
) -> None:
    """Score checkpoints on the test split of a profile; trains nothing, sends no LLM request."""
    from convrec.catalog.selection import load_with_catalog
    from convrec.config import parse_overrides

    overrides = parse_overrides(assignments or [])
    load_with_catalog(profile, overrides)
    environment()  # before Prefect, which reads it once
    from flows.evaluate import evaluate as evaluate_flow

    summary = _run_flow(
        {"profile": profile, "overrides": overrides, "checkpoint": checkpoint},
        quiet=is_stdout(json_file),
        flow=evaluate_flow,
    )
    write_json(summary, json_file)


def _run_flow(parameters: dict[str, Any], *, quiet: bool, flow: Any = None) -> dict[str, Any]:
    _refuse_full_disks()
    # TRL and transformers still call each other by deprecated names.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        get_current_settings,
        temporary_settings,
    )

    from flows.console import ConsoleListener, systems_table
    from flows.pipeline import pipeline
    from tasks.listener import listener

    out = console(stderr=quiet)
    with ConsoleListener(out) as shown:
        token = listener.set(shown)
        try:
            with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
                summary: dict[str, Any] = (flow or pipeline)(**parameters)
        finally:
            listener.reset(token)
    if summary["metrics"]:
        out.print(systems_table(summary["metrics"]))
    llm = summary["llm"]
    out.print(
        f"LLM requests: {llm['requests']:,} needed, {llm['from_ledger']:,} from the store, "
        f"{llm['sent']:,} sent, {llm['usd']:.4f} USD",
    )
    if summary["report"]:
        out.print(f"report: {summary['report']}", soft_wrap=True)
    ui = get_current_settings().ui_url or "`make ui`, then http://127.0.0.1:4200"
    page = f"{ui}/v2/runs/flow-run/{summary['flow_run_id']}"
    out.print(f"this run in the Prefect UI: {page}", soft_wrap=True)
    return summary


app.command()(plan)
app.command()(recommend)
app.command()(score)
app.command()(export)
app.command()(compare)
catalog_app.command("publish")(publish)
app.add_typer(catalog_app, name="catalog")
app.add_typer(artifacts_app, name="artifacts")
llm_app.command("import")(import_responses)
llm_app.command("reparse")(reparse)
app.add_typer(llm_app, name="llm")
app.add_typer(train_app, name="train")


def environment() -> None:
    """Set quiet, offline defaults for what the user has not set.

    OpenMP threads that spin while they wait slow training down many times as soon as another
    process uses the same cores; passive waiting has no measurable cost.
    """
    defaults = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


INTERRUPTED = 130
FULL = 2**20
"""Free bytes that a run requires to start."""


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; an expected failure prints one sentence and sets its exit code."""
    # Inside a run Prefect raises, so the run drains, and then passes the signal on.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app(standalone_mode=True)
    except ConvrecError as error:
        typer.echo(f"convrec: {error}", err=True)
        if error.resume:
            typer.echo(f"To go on from here: {error.resume}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if not (sentence := _environment_problem(error)):
            raise
        sys.exit(f"convrec: {sentence}")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer has caught the KeyboardInterrupt
            typer.echo(_resume_hint(), err=True)
        raise


def _refuse_full_disks() -> None:
    """Raise WarehouseError if a disk is full: Prefect's server would never answer."""
    from convrec.config import home

    places = {
        "CONVREC_HOME": home(),
        "PREFECT_HOME": Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser(),
        "TMPDIR": Path(os.environ.get("TMPDIR") or tempfile.gettempdir()),
    }
    for name, place in places.items():
        if place.exists() and shutil.disk_usage(place).free < FULL:
            raise WarehouseError(
                f"there is no space left in {place}; free some and run again, or set {name} to a "
                "folder on another disk; what was made and paid for is kept"
            )


def _environment_problem(error: Exception) -> str:
    """What to do about a full or read-only disk or an unreachable Prefect server; else empty."""
    if is_disk_full(error):
        return f"a disk is full ({error}); free some space and run again; what was paid for is kept"
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES):
        return (
            f"{error.filename or 'a file'} cannot be written ({error.strerror}); give this user "
            "write permission, or set CONVREC_HOME and PREFECT_HOME to folders that can be written"
        )
    if "ephemeral Prefect API server" in str(error):
        return (
            "the Prefect server that a run starts for itself did not answer in time; this "
            "machine is very busy, so try again, or start one (`make ui`) and set PREFECT_API_URL"
        )
    import httpx

    if isinstance(error, httpx.TransportError) or "Failed to reach API" in str(error):
        return (
            f"the Prefect server did not answer in time ({str(error) or type(error).__name__}); on "
            "a busy machine run again, or set PREFECT_API_REQUEST_TIMEOUT=300 to wait longer; "
            "where PREFECT_API_URL names a server, see that it runs; what was paid for is kept"
        )
    return ""


def _resume_hint() -> str:
    command = shlex.join(["convrec", *sys.argv[1:]])
    return (
        "convrec: interrupted; every answer that was paid for is kept, and a batch that was "
        f"submitted goes on. To go on from here: {command}"
    )


if __name__ == "__main__":
    main()
