"""Which Prefect server a command talks to."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from convrec.config import ROOT
from convrec.errors import ConfigError, ConvrecError
from flows.server import TemporaryServer, profile_url, shared_url

LOCAL = "http://127.0.0.1:4200/api"
CLOUD = "https://api.prefect.cloud/api/accounts/a/workspaces/b"

PROFILES = {
    "none": ("", ""),
    "no file": (None, ""),
    "ephemeral": ('active = "ephemeral"\n[profiles.ephemeral]\n', ""),
    "local": (f'active = "local"\n[profiles.local]\nPREFECT_API_URL = "{LOCAL}"\n', LOCAL),
    "cloud": (f'active = "c"\n[profiles.c]\nPREFECT_API_URL = "{CLOUD}"\n', CLOUD),
    "not in use": (f'active = "a"\n[profiles.a]\n[profiles.c]\nPREFECT_API_URL = "{CLOUD}"\n', ""),
    "unknown": (f'active = "x"\n[profiles.c]\nPREFECT_API_URL = "{CLOUD}"\n', ""),
    "no active": (f'[profiles.c]\nPREFECT_API_URL = "{CLOUD}"\n', ""),
    "empty": ('active = "c"\n[profiles.c]\nPREFECT_API_URL = ""\n', ""),
    "no table": ('active = "c"\nprofiles = 3\n', ""),
    "damaged": ("[profiles", ""),
    "other bytes": ("\udcff", ""),
}


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))


def write_profiles(folder: Path, text: str | None) -> None:
    if text is not None:
        (folder / "profiles.toml").write_text(text, errors="surrogateescape")


@pytest.mark.parametrize(("text", "url"), PROFILES.values(), ids=PROFILES)
def test_the_profile_in_use_names_a_server(tmp_path: Path, text: str | None, url: str) -> None:
    write_profiles(tmp_path, text)
    assert profile_url() == url


def test_the_variables_of_profiles_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(f'[profiles.c]\nPREFECT_API_URL = "{CLOUD}"\n')
    monkeypatch.setenv("PREFECT_PROFILE", "c")
    assert profile_url() == ""
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(other))
    assert profile_url() == CLOUD


def test_commands_of_this_folder_use_the_server_of_make_ui(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared_url() == LOCAL
    assert tomllib.loads((ROOT / "prefect.toml").read_text())["api"]["url"] == LOCAL
    write_profiles(tmp_path, PROFILES["local"][0])
    assert shared_url() == LOCAL
    monkeypatch.setenv("PREFECT_API_URL", CLOUD)
    assert shared_url() == CLOUD


def test_two_servers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profiles(tmp_path, PROFILES["cloud"][0])
    with pytest.raises(ConfigError, match=f"{CLOUD}.*prefect.toml.*export PREFECT_API_URL="):
        shared_url()
    monkeypatch.setenv("PREFECT_API_URL", LOCAL)
    assert shared_url() == LOCAL


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ([], "http://127.0.0.1:9/api"),
        (["worker"], "http://127.0.0.1:9/api"),
        ([], "http://no.such.host.invalid:4200/api"),
        ([], "nonsense"),
    ],
)
def test_without_a_server_nothing_is_deployed(
    tmp_path: Path, arguments: list[str], url: str
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "flows.deploy", *arguments],
        env=os.environ | {"PREFECT_API_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"convrec: no Prefect server answers at {url}")
    assert "make ui" in line
    assert not (tmp_path / "prefect.db").exists()  # no temporary server either


def test_a_server_that_cannot_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "nonsense")
    server = TemporaryServer()
    with pytest.raises(ConvrecError, match=r"did not start \(.+\); run `make ui`") as error:
        server.wait_until_healthy()
    server.stop(0)
    assert "\n" not in str(error.value)
