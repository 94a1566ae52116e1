"""The `convrec` command: runs flows, and mounts the command groups of `convrec.cli`.

Commands import what they need when they run, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec import __version__
from convrec.cli.artifacts import app as artifacts_app
from convrec.cli.catalog import app as catalog_app
from convrec.cli.init import init
from convrec.cli.llm import app as llm_app
from convrec.cli.output import Assignments, JsonFile, ProfileName, console, is_stdout, write_json
from convrec.cli.plan import plan
from convrec.cli.responses import import_responses, reparse
from convrec.cli.score import compare, score
from convrec.cli.serving import export, recommend, serve
from convrec.cli.train import app as train_app
from convrec.errors import ConfigError, ConvrecError, WarehouseError, is_disk_full
from convrec.utils.terminal import discard_if_closed, escape_unknown_characters
from flows.interruption import INTERRUPTED, resume_hint
from flows.publish import publish
from flows.ui import ui

if TYPE_CHECKING:
    from convrec.config import Config

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
    config = load_with_catalog(profile, overrides)
    if note := unpublished_edit(config):
        typer.echo(f"convrec: {note}", err=True)
    parameters = {"profile": profile, "overrides": overrides, "until": until, "refresh": refresh}
    _run_flow("pipeline", parameters, config, json_file)


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
    config = load_with_catalog(profile, overrides)
    parameters = {"profile": profile, "overrides": overrides, "checkpoint": checkpoint}
    _run_flow("evaluate", parameters, config, json_file)


def _run_flow(
    name: str, parameters: dict[str, Any], config: Config, json_file: Path | None
) -> None:
    """Run the flow `name` of the module of that name, and write its summary."""
    environment()  # before Prefect, which reads it once
    _refuse_full_disks()
    from flows.terminal_run import run_in_terminal

    summary = run_in_terminal(
        lambda: getattr(import_module(f"flows.{name}"), name),
        parameters,
        console(stderr=is_stdout(json_file)),
        config.llm.drain_seconds,
    )
    write_json(summary, json_file)


app.command()(init)
app.command()(plan)
app.command()(recommend)
app.command()(serve)
app.command()(score)
app.command()(export)
app.command()(compare)
app.command()(ui)
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
    from flows.server import API_URL, STARTUP_TIMEOUT, profile_url

    defaults = {
        "OMP_WAIT_POLICY": "PASSIVE",
        STARTUP_TIMEOUT: "120",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        API_URL: profile_url(),  # if empty, a temporary server, and not that of prefect.toml
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


MIN_FREE_BYTES = 2**20
"""Free bytes that a run requires to start."""


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; an expected failure prints one sentence and sets its exit code."""
    # Inside a run Prefect raises, so the run drains, and then passes the signal on.
    signal.signal(signal.SIGTERM, _terminated)
    escape_unknown_characters()
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
        if ended.code == INTERRUPTED:
            typer.echo(resume_hint(getattr(ended, "__notes__", [])), err=True)
        raise
    finally:
        discard_if_closed()


def _refuse_full_disks() -> None:
    """Raise WarehouseError if a disk is full: Prefect's server would never answer."""
    from convrec.config import home

    places = {
        "CONVREC_HOME": home(),
        "PREFECT_HOME": Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser(),
        "TMPDIR": Path(os.environ.get("TMPDIR") or tempfile.gettempdir()),
    }
    for name, place in places.items():
        if place.exists() and shutil.disk_usage(place).free < MIN_FREE_BYTES:
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
        from flows.server import UI_COMMAND

        return (
            "the Prefect server that a run starts for itself did not answer in time; this "
            f"machine is very busy, so try again, or start one (`{UI_COMMAND}`) and set "
            "PREFECT_API_URL"
        )
    import httpx

    if isinstance(error, httpx.TransportError) or "Failed to reach API" in str(error):
        return (
            f"the Prefect server did not answer in time ({str(error) or type(error).__name__}); on "
            "a busy machine run again, or set PREFECT_API_REQUEST_TIMEOUT=300 to wait longer; "
            "where PREFECT_API_URL names a server, see that it runs; what was paid for is kept"
        )
    return ""


if __name__ == "__main__":
    main()
