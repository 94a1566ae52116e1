"""The pages name every command, key, kind and profile, and their links resolve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from prefect import Flow
from pydantic import BaseModel

from convrec.artifacts.tables import KINDS
from convrec.config import Config, profiles
from flows.ablate_sft_data import ablate_sft_data
from flows.build_sft_data import build_sft_data
from flows.cli import app
from flows.compare_training import compare_training
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.train import train

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("catalog/*.md")])


def commands(command: Any, path: str = "convrec") -> Iterator[str]:
    """The full names of the commands below a group."""
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from commands(inner, f"{path} {name}")
        else:
            yield f"{path} {name}"


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(section, key) of a configuration model, nested sections included."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield prefix.rstrip("."), name


def sections(page: str) -> dict[str, str]:
    """Heading, without backticks → the text under it."""
    parts = re.split(r"^##+ (.*)$", page, flags=re.M)
    return {
        title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_command_is_in_the_reference() -> None:
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    names = list(commands(typer.main.get_command(app)))
    assert len(names) > 20
    assert not [name for name in names if f"`{name}" not in page]


def test_every_configuration_key_is_in_the_reference() -> None:
    page = sections((REFERENCE / "configuration.md").read_text(encoding="utf-8"))
    found = list(keys(Config))
    assert len(found) > 100
    missing = [
        f"{section}.{key}"
        for section, key in found
        if f"| `{key}` |" not in page.get(section or "Top level", "")
    ]
    assert not missing


def test_every_artifact_kind_and_column_is_in_the_reference() -> None:
    page = sections((REFERENCE / "artifacts.md").read_text(encoding="utf-8"))
    missing = [
        f"{kind}.{column}"
        for kind, columns in KINDS.items()
        for column in columns
        if f"`{column}`" not in page.get(kind, "")
    ]
    assert not missing


@pytest.mark.parametrize(
    "flow", [pipeline, build_sft_data, train, evaluate, ablate_sft_data, compare_training]
)
def test_the_form_of_a_run_names_every_profile(flow: Flow[..., Any]) -> None:
    description = str(flow.parameters.properties["profile"]["description"])
    assert [name for name in profiles() if name not in description] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    relative = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert not [link for link in relative if not (page.parent / link).exists()]
