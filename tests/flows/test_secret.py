from __future__ import annotations

import pytest
from prefect.blocks.system import Secret

from convrec.errors import ConfigError
from tasks.fetch import api_key

KEY = "sk-planted-0123456789abcdef"


def test_the_api_key_may_be_a_prefect_secret_block(home: object) -> None:
    Secret(value=KEY).save("openai-test", overwrite=True)
    assert api_key("openai-test") == KEY
    assert api_key("") == ""


def test_a_missing_secret_block_is_an_error(home: object) -> None:
    with pytest.raises(ConfigError, match=r"llm\.secret='nowhere'"):
        api_key("nowhere")
