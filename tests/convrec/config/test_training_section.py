"""Settings of a training that contradict each other are refused when they are loaded."""

from __future__ import annotations

from typing import Any

import pytest

from convrec.config import load
from convrec.errors import ConfigError


def error(**values: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        load("demo", {key.replace("__", "."): value for key, value in values.items()})
    return str(raised.value)


@pytest.mark.parametrize("section", ["sft", "rank_grpo"])
def test_a_drop_beyond_the_last_step_is_refused(section: str) -> None:
    drop: dict[str, Any] = {f"{section}__schedule": "drop", f"{section}__steps": 5}
    assert "drop_step=6 is beyond the last step, 5" in error(**drop, **{f"{section}__drop_step": 6})
    load("demo", {f"{section}.schedule": "drop", f"{section}.steps": 5, f"{section}.drop_step": 5})


def test_the_steps_of_epochs_are_known_later() -> None:
    load("demo", {"sft.schedule": "drop", "sft.drop_step": 99})
    epochs = {"rank_grpo.epochs": 1, "rank_grpo.steps": 5}
    load("demo", {**epochs, "rank_grpo.schedule": "drop", "rank_grpo.drop_step": 99})


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost", "tcp://127.0.0.1:8000"])
def test_the_address_of_a_server_has_a_scheme(url: str) -> None:
    message = error(rank_grpo__vllm="server", rank_grpo__sampler="free", rank_grpo__vllm_url=url)
    assert message == (
        f"rank_grpo.vllm_url={url!r} is invalid in profile demo: an address starts with http:// or "
        "https://, for example http://127.0.0.1:8000"
    )
