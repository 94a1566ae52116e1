"""Checks of a vLLM server before a training uses it, each with one sentence on what to change.

TRL's client needs the development endpoints and a weight-transfer engine of the server, and it
copies weights by name, so the server must run the same architecture.
"""

from __future__ import annotations

import time
from typing import Any

import httpx

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.stages.rank_grpo.vllm import max_length

_INTERVAL = 2.0
_SHAPE = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
_TRANSFER = """--weight-transfer-config '{"backend": "nccl"}'"""


def check_server(config: Config, model_config: Any = None, *, timeout: float = 0.0) -> str:
    """The name of the model that the server at `rank_grpo.vllm_url` serves.

    Waits `timeout` seconds until the server responds. `model_config` is that of the trained model
    (transformers), to compare shapes with. Raises TrainingError if TRL cannot use the server.
    """
    url = config.rank_grpo.vllm_url.rstrip("/")
    with httpx.Client(base_url=url, timeout=10, follow_redirects=True) as client:
        _wait_for(client, url, timeout)
        served = _get(client, url, "/v1/models")["data"][0]
        needed, length = max_length(config), served.get("max_model_len") or 0
        if 0 < length < needed:
            raise TrainingError(
                f"the vLLM server at {url} allows {length} tokens of a prompt and its list, but "
                f"{needed} may be needed; restart it with --max-model-len {needed}"
            )
        _check_settings(_server_info(client, url), config, url)
        if model_config is not None:
            _check_shape(_server_info(client, url), model_config, served["id"], url)
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


def _server_info(client: httpx.Client, url: str) -> dict[str, Any]:
    values: dict[str, Any] = _get(client, url, "/server_info", config_format="json")["vllm_config"]
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


def _check_shape(info: dict[str, Any], model_config: Any, served: str, url: str) -> None:
    """Compare the fields that the server reports with the trained model's."""
    reported = info.get("model_config", {}).get("hf_config") or {}
    if not isinstance(reported, dict):
        return
    for name in _SHAPE:
        expected, actual = getattr(model_config, name, None), reported.get(name)
        if expected is not None and actual is not None and expected != actual:
            raise TrainingError(
                f"the vLLM server at {url} serves {served} with {name}={actual}, but the trained "
                f"model has {expected}; start it with the checkpoint that is trained, or its base"
            )
