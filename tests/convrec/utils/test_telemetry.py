from __future__ import annotations

import os
import subprocess
import sys

import pytest

from convrec.utils.telemetry import SWITCHES

ENTRIES = [
    "import convrec",
    "import convrec.training.worker",
    "import convrec.demo.server",
    "import flows.cli",
    "import flows.deploy",
    "import flows.pipeline",
    "import flows.server_process",
    "import tasks.run",
]
"""What the commands, the worker's runs, the child processes and the servers import first."""


def run(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_switches_telemetry_off_before_prefect_is_imported(entry: str) -> None:
    code = f"""
import sys
class Finder:
    def find_spec(self, name, *rest):
        if name in ("prefect", "huggingface_hub", "transformers"):
            import os
            assert os.environ.get("DO_NOT_TRACK") == "1", name
sys.meta_path.insert(0, Finder())
{entry}
import os
print(os.environ["HF_HUB_DISABLE_TELEMETRY"], os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"])
"""
    assert run(code) == "1 false"


def test_the_libraries_have_understood() -> None:
    code = """
import convrec
from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY
from datasets.config import HF_UPDATE_DOWNLOAD_COUNTS
from prefect.analytics import is_telemetry_enabled
from prefect.settings import get_current_settings
settings = get_current_settings()
print(HF_HUB_DISABLE_TELEMETRY, HF_UPDATE_DOWNLOAD_COUNTS, is_telemetry_enabled(),
      settings.server.analytics_enabled, settings.cloud.enable_orchestration_telemetry)
"""
    assert run(code, CI="") == "True False False False False"


@pytest.mark.parametrize("name", sorted(SWITCHES))
def test_a_variable_of_the_user_wins(name: str) -> None:
    code = f"import convrec, os; print(os.environ[{name!r}])"
    assert run(code, **{name: "mine"}) == "mine"
    assert run(code) == SWITCHES[name]
