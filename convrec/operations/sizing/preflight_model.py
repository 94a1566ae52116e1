"""Whether the base model is here and can be trained; a model on the Hub need not be here yet."""

from __future__ import annotations

from convrec.config import Config, resolve_path
from convrec.errors import ConfigError
from convrec.models.gguf import is_gguf_package
from convrec.models.hub import is_cached
from convrec.operations.sizing.finding import MISSING, OK, Finding
from convrec.utils.hub import TIMEOUT, describe_refusal, is_unreachable


def check_model(config: Config) -> list[Finding]:
    """A finding for each part of the base model that is in order.

    A model that would have to be downloaded, but cannot be from this machine, is missing. Raises
    InputError or ConfigError for a model that cannot be trained anywhere.
    """
    from convrec.models.checks import check_base_model

    if missing := _missing_model(config.model.base):
        return [Finding("model", MISSING, missing)]
    return [Finding("model", OK, text) for text in check_base_model(config)]


def _missing_model(base: str) -> str:
    """Why a model on the Hub cannot be had here; empty if it can, or is no model on the Hub.

    Raises ConfigError if the Hub says that there is no such model.
    """
    from convrec.models.identity import base_error

    is_local = base == "tiny" or is_gguf_package(base) or base_error(base)
    if is_local or resolve_path(base, "model.base").is_dir() or is_cached(base):
        return ""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError

    try:
        HfApi().model_info(base, timeout=TIMEOUT)
    except Exception as error:  # of huggingface_hub, its HTTP client, or the network
        reason = f"model.base={base}: {describe_refusal(error, base)}"
        if is_unreachable(error) or isinstance(error, GatedRepoError):
            return f"{reason}, or set model.base to a folder with the model"
        raise ConfigError(reason) from None
    return ""
