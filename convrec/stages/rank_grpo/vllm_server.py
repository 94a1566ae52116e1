"""Checks of a vLLM server before a training uses it, each with one sentence on what to change.

TRL's client needs the development endpoints and a weight-transfer engine of the server, and it
copies weights by name, so the server must run the same architecture.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.load import Student
from convrec.stages.rank_grpo.vllm import max_length

_INTERVAL, _ANSWER = 2.0, 60.0  # vLLM takes seconds to describe its environment
_SAMPLE = "1. The Silence of the Lambs (1991)\n"
_SHAPE = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
_TRANSFER = """--weight-transfer-config '{"backend": "nccl"}'"""


def check_server(config: Config, student: Student | None = None, *, timeout: float = 0.0) -> str:
    """The name of the model that the server at `rank_grpo.vllm_url` serves.

    Waits `timeout` seconds until the server responds. Compares its model with the trained one, the
    `student`. Raises TrainingError if TRL cannot use the server.
    """
    url = config.rank_grpo.vllm_url.rstrip("/")
    with httpx.Client(base_url=url, timeout=_ANSWER, follow_redirects=True) as client:
        _wait_for(client, url, timeout)
        served = _get(client, url, "/v1/models")["data"][0]
        needed, length = max_length(config), served.get("max_model_len") or 0
        if 0 < length < needed:
            raise TrainingError(
                f"the vLLM server at {url} allows {length} tokens of a prompt and its list, but "
                f"{needed} may be needed; restart it with --max-model-len {needed}"
            )
        info = _get(client, url, "/server_info", config_format="json")["vllm_config"]
        _check_settings(info, config, url)
        if student is not None:
            model = str(info.get("model_config", {}).get("model", ""))
            _check_model(client, model, served["id"], student, url)
        world = _get(client, url, "/get_world_size")["world_size"]
        if not isinstance(world, int) or world < 1:
            raise TrainingError(
                f"the vLLM server at {url} reports {world!r} workers; restart it, then run again"
            )
        return str(served["id"])


def _wait_for(client: httpx.Client, url: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            response = client.get("/health")
            if response.status_code == httpx.codes.OK:
                return
            problem = f"HTTP {response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = type(error).__name__
        if time.monotonic() + _INTERVAL > deadline:
            raise TrainingError(
                f"no vLLM server responds at rank_grpo.vllm_url={url} ({problem}); start it with "
                "`vllm serve` (docs/guides/training.md has the command), or correct the address"
            )
        time.sleep(_INTERVAL)


def _get(client: httpx.Client, url: str, path: str, **params: str) -> dict[str, Any]:
    try:
        response = client.get(path, params=params)
        response.raise_for_status()
        values: dict[str, Any] = response.json()
    except (httpx.HTTPError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", type(error).__name__)
        raise TrainingError(
            f"the server at rank_grpo.vllm_url={url} does not answer {path} as vLLM does "
            f"({status}); TRL needs `vllm serve` of version 0.22 to 0.31, started with "
            "VLLM_SERVER_DEV_MODE=1"
        ) from None
    return values


def _check_settings(info: dict[str, Any], config: Config, url: str) -> None:
    if info.get("weight_transfer_config") is None:
        raise TrainingError(
            f"the vLLM server at {url} cannot receive weights; restart it with {_TRANSFER}"
        )
    mode = info.get("model_config", {}).get("logprobs_mode")
    if config.rank_grpo.temperature != 1 and mode != "processed_logprobs":
        raise TrainingError(
            f"the vLLM server at {url} reports log-probabilities of temperature 1, but "
            f"rank_grpo.temperature={config.rank_grpo.temperature:g}; restart it with "
            "--logprobs-mode processed_logprobs"
        )


def _check_model(client: httpx.Client, model: str, served: str, student: Student, url: str) -> None:
    """Compare the tokenizers, and the shapes if the folder of the served model is at hand."""
    ids = student.tokenizer.encode(_SAMPLE, add_special_tokens=False)
    body = {"model": served, "prompt": _SAMPLE, "add_special_tokens": False}
    answer = client.post("/tokenize", json=body)
    differs = answer.is_success and answer.json().get("tokens") != ids
    file = Path(model) / "config.json"
    shape = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in _SHAPE:
        expected = getattr(student.model.config, name, None)
        differs = differs or shape.get(name, expected) != expected
    if differs:
        raise TrainingError(
            f"the vLLM server at {url} serves another model, {served}; start it with the "
            "checkpoint that is trained, or with its base model"
        )
