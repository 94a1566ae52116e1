from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from convrec.config import Config, load
from convrec.errors import ConfigError
from convrec.llm.endpoint import api_key, endpoint_name, is_loopback, open_endpoint, public_url
from tests.support.llm_endpoint import wait_for

ROOT = Path(__file__).resolve().parents[3]
DEMO = Config.model_validate({"llm": {"endpoint": "demo"}})


def healthy(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(base_url.replace("/v1", "/health"), timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def llm(**settings: str) -> Config:
    return Config.model_validate({"llm": settings})


def test_the_endpoint_name_is_configured_or_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert endpoint_name(Config()) == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:secret@llm.example/v1/?key=secret")
    assert endpoint_name(Config()) == "http://llm.example/v1"
    assert endpoint_name(llm(base_url="http://127.0.0.1:9/v1")) == "http://127.0.0.1:9/v1"
    assert endpoint_name(llm(base_url="http://127.0.0.1:9/v1", endpoint="demo")) == "demo"


def test_urls_are_shown_without_secrets() -> None:
    assert public_url("https://me:pw@host:8/v1/?k=1") == "https://host:8/v1"
    assert is_loopback("http://localhost:1/v1")
    assert is_loopback("http://[::1]:1/v1")
    assert not is_loopback("https://127.example/v1")


def test_a_key_is_needed_only_for_remote_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api_key(Config(), "http://127.0.0.1:9/v1") == "unused"
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        api_key(Config(), "https://api.openai.com/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert api_key(Config(), "https://api.openai.com/v1") == "sk-mine"
    assert api_key(DEMO, "http://127.0.0.1:9/v1") == "unused"


def test_the_embedded_server_lives_as_long_as_the_block() -> None:
    with open_endpoint(DEMO) as url:
        assert healthy(url)
    assert not healthy(url)


def test_a_base_url_takes_precedence_over_the_server() -> None:
    with open_endpoint(llm(endpoint="demo", base_url="http://127.0.0.1:9/v1")) as url:
        assert url == "http://127.0.0.1:9/v1"


def test_the_embedded_server_dies_with_its_parent() -> None:
    script = (
        "import time\n"
        "from convrec.config import Config\n"
        "from convrec.llm.endpoint import open_endpoint\n"
        "with open_endpoint(Config.model_validate({'llm': {'endpoint': 'demo'}})) as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert healthy(url)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_for(lambda: not healthy(url))


def test_serve_demo_prints_its_url_and_ends_on_ctrl_c() -> None:
    command = "from convrec.cli.llm import app; app()"
    serving = subprocess.Popen(
        [sys.executable, "-c", command, "serve-demo", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert serving.stdout is not None
    url = serving.stdout.readline().strip()
    wait_for(lambda: healthy(url))
    serving.send_signal(signal.SIGINT)
    _, complaints = serving.communicate(timeout=20)
    assert (serving.returncode, complaints) == (0, "")


@pytest.mark.parametrize(
    "address", ["llm.example/v1", "http://llm.example:99999/v1", "http://[", "http://1.2.3.999/v1"]
)
def test_an_invalid_url_in_the_environment_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ConfigError, match="is not a valid URL"):
        endpoint_name(load("reddit-v2", {"llm.endpoint": "", "llm.base_url": ""}))
