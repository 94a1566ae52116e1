"""`convrec catalog publish`: record a version of a catalog, and start the rebuild that it asks for.

It stands here because it tells Prefect; `convrec/catalog/publish.py` says what a publication is.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, takes_stdout, write_json

if TYPE_CHECKING:
    from convrec.catalog.publish import Publication

DEPLOYMENT = "build-sft-data/on-catalog-change"


def publish(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with title and year.")],
    name: Annotated[str, typer.Option(help="The catalog, as profiles call it: catalog:NAME.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Publish although more than a tenth is gone or unusable.")
    ] = False,
    profile: Annotated[
        list[str] | None,
        typer.Option(help="A profile that takes it and does not stand in profiles/; repeatable."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Publish FILE as the next version of catalog NAME; the deployments that wait for it start.

    The rows that cannot be used are listed and left out. The same items again make no new version.
    Without a Prefect server the version is recorded all the same.
    """
    from convrec.artifacts import Store
    from convrec.catalog.publish import publish as record
    from convrec.config import home
    from tasks.catalog_event import announce

    store = Store(home())
    made = record(file, name, store, yes=yes, profiles=_whole_paths(profile or []))
    problem = announce(made, store) if made.to_announce and made.profiles else ""
    result = _result(made, problem)
    if json_file is not None:
        write_json(result, json_file)
    if takes_stdout(json_file):
        return
    _print(made, problem)


def start_command(name: str, version: int) -> str:
    """The command that starts the rebuild by hand."""
    words = ["prefect", "deployment", "run", DEPLOYMENT, "-p", f"name={name}"]
    return shlex.join([*words, "-p", f"version={version}"])


def _whole_paths(given: list[str]) -> list[str]:
    """Profiles by path as a worker finds them from wherever it runs."""
    return [str(Path(p).expanduser().resolve()) if p.endswith(".toml") else p for p in given]


def _result(made: Publication, problem: str) -> dict[str, Any]:
    version = made.version
    return {
        "name": version.name,
        "version": version.version,
        "new": made.new,
        "items": version.items,
        **made.counts,
        "quarantined": made.quarantine.to_dicts(),
        "compared_with": version.compared_with,
        "profiles": made.profiles,
        "announced": bool(made.to_announce and made.profiles and not problem),
        "problem": problem,
    }


def _print(made: Publication, problem: str) -> None:
    version, said = made.version, typer.echo
    title = f"catalog {version.name}, version {version.version}"
    if not made.new:
        said(f"{title} has the same items; nothing is published")
    else:
        changed = ", ".join(f"{count} {what}" for what, count in made.counts.items())
        since = f" since {version.compared_with}: {changed}" if changed else ""
        said(f"{title}: {version.items} items{since}")
    for line, reason in made.quarantine.select("line", "reason").head(10).iter_rows():
        said(f"  line {line} is left out: {reason}")
    if not made.to_announce:
        return
    if problem:
        said(f"{problem}; once `make ui` and `make worker` run, start the rebuild with:")
        said(f"  {start_command(version.name, version.version)}")
    elif made.profiles:
        said(f"announced; {DEPLOYMENT} rebuilds {', '.join(made.profiles)}")
    else:
        said(
            "nobody is told, because no profile in profiles/ takes it: write ingest.catalog = "
            f'"catalog:{version.name}" into one, and publish again'
        )
