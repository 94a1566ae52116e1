"""The steps of the Dockerfile in a new environment: the image has all that a run needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convrec.config import ROOT
from tests.support.deploy_files import copied_into_image

pytestmark = pytest.mark.scale


@pytest.mark.timeout(1800)
def test_the_image_has_what_a_run_needs(tmp_path: Path) -> None:
    project = tmp_path / "opt" / "convrec"
    project.mkdir(parents=True)
    for name in copied_into_image():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, project / name)
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    extras = re.search(r"^ARG EXTRAS=(\S+)", text, re.M)
    step = re.search(r"^RUN python -m (pip install .*)$", text, re.M)
    assert extras
    assert step
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    options = step[1].replace("--no-cache-dir ", "").replace("${EXTRAS}", extras[1])
    words = [word.strip('"') for word in options.split()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(python), "-m", *words], cwd=project, env=environment, check=True)
    home = {**environment, "CONVREC_HOME": str(tmp_path / "warehouse")}
    convrec = str(python.parent / "convrec")
    for command in (["--version"], ["plan", "demo"]):
        subprocess.run([convrec, *command], cwd=tmp_path, env=home, check=True)
    entrypoint = "import flows.pipeline, convrec; print(convrec.__file__)"
    result = subprocess.run(
        [str(python), "-c", entrypoint], cwd=project, env=home, check=True, capture_output=True
    )
    assert str(project) in result.stdout.decode()
