"""The wheel: one name in site-packages, everything that ships, commands in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

from convrec import entrypoints
from tests.support.tiny_demo import TINY_DEMO

ROOT = Path(__file__).parents[1]
IN_PROJECT = ("flows", "tasks", "profiles", "catalog")
TEAM = 'raise RuntimeError("the package of a team")'
TRAINING = {"sft.epochs": 1, "rank_grpo.steps": 1, "rank_grpo.prompts_per_step": 2}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")))
    return Path(path)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip would install."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of a team that has packages `flows` and `tasks` of its own."""
    for name in ("flows", "tasks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(TEAM)
    return tmp_path


def convrec(installed: Path, work: Path, *words: str) -> str:
    """The output of a command in a folder, as an installed wheel runs it."""
    environment = {k: v for k, v in os.environ.items() if k != "CONVREC_HOME"}
    environment |= {"PYTHONPATH": str(installed), "PREFECT_HOME": str(work / "prefect")}
    code = "from convrec.entrypoints import main; main()"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_has_all_files_under_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"convrec"}
    listed = subprocess.run(
        ["git", "ls-files", "convrec", *IN_PROJECT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    tracked = [name for name in listed if (ROOT / name).is_file()]
    assert len(tracked) > 400
    moved = {n: f"convrec/project/{n}" if n.split("/")[0] in IN_PROJECT else n for n in tracked}
    assert not [name for name, target in moved.items() if target not in names]
    assert not [name for name in names if ".convrec" in name or name.endswith(".pyc")]


def test_a_plan_of_the_demo_in_an_empty_folder(installed: Path, work: Path) -> None:
    plan = json.loads(convrec(installed, work, "plan", "demo", "--json", "-"))
    assert {stage["state"] for stage in plan["stages"]} == {"would_run"}
    assert sorted(path.name for path in work.iterdir()) == ["flows", "tasks"]


def test_a_deployment_finds_the_flows_of_the_wheel(installed: Path, work: Path) -> None:
    code = (
        "from prefect.flows import load_flow_from_entrypoint as load\n"
        "import sys; sys.path.insert(0, '')\n"
        "print(load('convrec.entrypoints.build_sft_data').name)\n"
        "print(sys.modules['flows'].__file__)"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    name, file = result.stdout.split()
    assert name == "build-sft-data"
    assert file == str(installed / "convrec" / "project" / "flows" / "__init__.py")


def test_each_deployed_flow_has_an_entry_point() -> None:
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {entry["entrypoint"].rpartition(":")[2] for entry in deployed} == {*entrypoints.FLOWS}
    for name in entrypoints.FLOWS:
        assert getattr(entrypoints, name).fn.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'bake'"):
        entrypoints.bake  # noqa: B018


@pytest.mark.slow
def test_the_whole_demo_runs_from_the_wheel(installed: Path, work: Path) -> None:
    settings = TINY_DEMO | TRAINING
    words = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    options = [word for setting in words for word in ("--set", setting)]
    convrec(installed, work, "run", "demo", *options, "--json", "run.json")
    summary = json.loads((work / "run.json").read_text())
    assert {"sft", "rank_grpo", "served"} <= summary["metrics"].keys()
    assert (work / ".convrec" / "warehouse.duckdb").exists()
    assert not list(installed.rglob("warehouse.duckdb"))
