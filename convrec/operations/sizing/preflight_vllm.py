"""What sampling with vLLM needs: the package, a GPU, a server, and room for prompt and list."""

from __future__ import annotations

from importlib.util import find_spec

from convrec.config import Config
from convrec.errors import ConfigError, TrainingError
from convrec.operations.sizing.finding import MISSING, OK, Finding


def check_vllm(config: Config, gpus: int) -> list[Finding]:
    """Findings on vLLM in rank_grpo and in evaluate; none if neither uses it.

    Raises ConfigError if its maximum length is too short for the profile.
    """
    if not config.rank_grpo.vllm and not config.evaluate.vllm:
        return []
    findings = [check_length(config)] if config.rank_grpo.vllm else []
    if find_spec("vllm") is None:
        text = "the package vllm is not installed; docs/guides/training.md says how to install it"
        findings.append(Finding("vllm", MISSING, text))
    if not gpus:
        findings.append(Finding("vllm", MISSING, "needs a GPU, but this machine has none"))
    if config.rank_grpo.vllm == "server":
        findings.append(_check_server(config))
    return findings


def check_length(config: Config) -> Finding:
    """The tokens that vLLM reserves. Raises ConfigError if they are too few for the profile."""
    from convrec.stages.rank_grpo.vllm import max_length

    prompt, completion = config.model.max_prompt_tokens, config.model.max_completion_tokens
    length = max_length(config)
    if length < prompt + completion:
        raise ConfigError(
            f"rank_grpo.vllm_max_length={length} is too short for prompts of up to {prompt} and "
            f"lists of up to {completion} tokens; set it to {prompt + completion} or more, or to 0"
        )
    if config.rank_grpo.vllm == "server":
        return Finding("vllm", OK, f"needs --max-model-len {length} or more")
    return Finding("vllm", OK, f"reserves {length} tokens for a prompt and its list")


def _check_server(config: Config) -> Finding:
    """Whether TRL can use the server."""
    from convrec.stages.rank_grpo.vllm_server import check_server

    try:
        name = check_server(config)
    except TrainingError as error:
        return Finding("vllm", MISSING, str(error))
    return Finding("vllm", OK, f"its server at {config.rank_grpo.vllm_url} serves {name}")
