"""`convrec catalog publish`: records a version of a catalog and announces it to Prefect.

`convrec/catalog/publish.py` records the version; the command is in flows because it sends an event.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.cli.output import JsonFile, open_store, write_json
from flows.server import UI_COMMAND, WORKER_COMMAND

if TYPE_CHECKING:
    from convrec.catalog.publish import Publication

DEPLOYMENT = "build-sft-data/on-catalog-change"


def publish(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with title and year.")],
    name: Annotated[
        str, typer.Option(help="Name of the catalog, which profiles use as catalog:NAME.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Publish even if over a tenth of it is gone or unusable.")
    ] = False,
    profile: Annotated[
        list[str] | None,
        typer.Option(help="A profile outside profiles/ that uses it; repeatable."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Publish FILE as the next version of catalog NAME, and start the deployments that wait for it.

    Unusable rows are listed and left out. A file with the same items creates no new version. The
    version is recorded even without a Prefect server.
    """
    from convrec.catalog.publish import publish_catalog
    from tasks.catalog_event import announce

    store = open_store()
    profiles = _absolute_paths(profile or [])
    publication = publish_catalog(file, name, store, yes=yes, profiles=profiles)
    should_announce = publication.needs_announcement and publication.profiles
    problem = announce(publication, store) if should_announce else ""
    if not write_json(_result(publication, problem), json_file):
        _print_result(publication, problem)


def start_command(name: str, version: int) -> str:
    """The command that starts the rebuild manually."""
    words = ["prefect", "deployment", "run", DEPLOYMENT, "-p", f"name={name}"]
    return shlex.join([*words, "-p", f"version={version}"])


def _absolute_paths(profiles: list[str]) -> list[str]:
    """The profiles with absolute paths, so that a worker finds them from any folder."""
    return [str(Path(p).expanduser().resolve()) if p.endswith(".toml") else p for p in profiles]


def _result(publication: Publication, problem: str) -> dict[str, Any]:
    version = publication.version
    return {
        "name": version.name,
        "version": version.version,
        "new": publication.is_new,
        "items": version.items,
        **publication.counts,
        "quarantined": publication.quarantine.to_dicts(),
        "compared_with": version.compared_with,
        "profiles": publication.profiles,
        "announced": bool(publication.needs_announcement and publication.profiles and not problem),
        "problem": problem,
    }


def _print_result(publication: Publication, problem: str) -> None:
    version = publication.version
    title = f"catalog {version.name}, version {version.version}"
    if not publication.is_new:
        typer.echo(f"{title} has the same items; nothing is published")
    else:
        changed = ", ".join(f"{count} {what}" for what, count in publication.counts.items())
        since = f" since {version.compared_with}: {changed}" if changed else ""
        typer.echo(f"{title}: {version.items} items{since}")
    for line, reason in publication.quarantine.select("line", "reason").head(10).iter_rows():
        typer.echo(f"  line {line} is left out: {reason}")
    if not publication.needs_announcement:
        return
    if problem:
        typer.echo(
            f"{problem}; run `{UI_COMMAND}` and `{WORKER_COMMAND}`, then start the rebuild with:"
        )
        typer.echo(f"  {start_command(version.name, version.version)}")
    elif publication.profiles:
        typer.echo(f"announced; {DEPLOYMENT} rebuilds {', '.join(publication.profiles)}")
    else:
        typer.echo(
            "not announced, because no profile in profiles/ uses this catalog; set ingest.catalog "
            f'= "catalog:{version.name}" in one and publish again'
        )
