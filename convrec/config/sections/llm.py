"""The section of the LLM endpoint: address, budget, rate limits, prices and models."""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator
from pydantic_core import PydanticCustomError

from convrec.config.base import Section
from convrec.config.paths import is_http_url


class Price(Section):
    """US dollars per million tokens."""

    input: float = Field(ge=0, description="Price of input tokens.")
    cached_input: float | None = Field(
        None, ge=0, description="Price of cached input tokens; empty: as `input`."
    )
    output: float = Field(ge=0, description="Price of output tokens.")


_OWN_FIELDS = frozenset(
    {
        *("model", "messages", "input", "stream", "stream_options", "n", "temperature"),
        *("max_tokens", "max_completion_tokens", "response_format"),
    }
)
"""Fields of a request that `llm.models.NAME.extra` may not set."""


class ModelSettings(Section):
    """What a model accepts; what is empty follows from the model's name.

    A setting changes the requests to the model and therefore their keys.
    """

    reasons: bool | None = Field(
        None,
        description="Whether it is a reasoning model: its token limit includes reasoning and is "
        "sent as max_completion_tokens, and no temperature is sent. Empty: true for o1, o3, o4 "
        "and gpt-5.",
    )
    token_parameter: Literal["max_tokens", "max_completion_tokens", "none"] | None = Field(
        None, description="Name of the token limit in requests; `none` sends no limit."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | Literal["none"] | None = Field(
        None,
        description="Temperature to send; `none` sends none. Empty: `recommend.temperature`, and 0 "
        "for the judge.",
    )
    response_format: Literal["json_schema", "json_object", "text"] | None = Field(
        None, description="As `reflect.response_format`, which it replaces for this model."
    )
    extra: dict[str, JsonValue] = Field(
        default={},
        description="More fields of the request, such as the switch for thinking, sent as they "
        "are.",
    )

    @field_validator("temperature", mode="before")
    @classmethod
    def _check_temperature(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("use a number from 0 to 2, or none to send no temperature")
        return value

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if own := sorted(_OWN_FIELDS & value.keys()):
            raise ValueError(
                f"convrec sets {', '.join(own)} itself; use the other keys of llm.models, or the "
                "settings of recommend and reflect"
            )
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise ValueError("numbers must be finite") from None
        return value


class Batch(Section):
    """The Batch API: batch sizes and polling."""

    max_requests: int = Field(50_000, gt=0, le=50_000, description="Maximum requests in a batch.")
    max_bytes: int = Field(
        200_000_000, gt=0, le=200_000_000, description="Maximum bytes of a batch file."
    )
    poll_seconds: float = Field(30, gt=0, description="Seconds between status requests.")
    max_rounds: int = Field(
        3, gt=0, description="Batches in which a request may be sent before it counts as failed."
    )


class Llm(Section):
    """The endpoint of teacher and judge.

    Its API key comes from OPENAI_API_KEY or a Prefect Secret block, never from the configuration.
    """

    later_keys: ClassVar = frozenset({"models"})
    runtime_keys: ClassVar = frozenset(
        {
            *("base_url", "max_usd", "max_concurrency", "max_attempts", "max_failures", "timeout"),
            "drain_seconds",
        }
    )

    base_url: str = Field(
        "", description="Address of the endpoint. Empty: OPENAI_BASE_URL, or the demo server."
    )
    endpoint: str = Field(
        "", description="Name of the endpoint in request keys. Empty: the base URL."
    )
    max_usd: float | None = Field(
        None, ge=0, description="Budget in US dollars; stop before the request that exceeds it."
    )
    secret: str = Field(
        "", description="Prefect Secret block with the API key. Empty: OPENAI_API_KEY."
    )
    max_concurrency: int = Field(8, gt=0, le=4096, description="Maximum concurrent requests.")
    max_rpm: int | None = Field(
        None,
        gt=0,
        description="Maximum requests per minute. Empty: as the response headers allow.",
    )
    max_tpm: int | None = Field(
        None, gt=0, description="Maximum tokens per minute. Empty: as the response headers allow."
    )
    max_attempts: int = Field(10, gt=0, description="Maximum attempts per request.")
    max_failures: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of requests that may fail, or bring an answer that cannot be used, "
        "before the run fails.",
    )
    timeout: float = Field(120, gt=0, description="Seconds until a request times out.")
    drain_seconds: float = Field(
        3, ge=0, description="Seconds that an interrupted run waits for the requests in flight."
    )
    prices: dict[str, Price] = Field(
        default={}, description="Prices by model, added to the shipped price table."
    )
    models: dict[str, ModelSettings] = Field(
        default={}, description="What models accept, by name, where their names do not tell."
    )
    batch: Batch = Batch()

    @field_validator("base_url")
    @classmethod
    def _check_no_secret(cls, value: str) -> str:
        if urlsplit(value).username is not None:
            raise PydanticCustomError(
                "secret",
                "the address contains a user or password, and settings are stored and shown; "
                "set OPENAI_BASE_URL in the environment instead",
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if value and not is_http_url(value):
            raise ValueError(
                "use an address such as http://127.0.0.1:8000/v1, or leave the key empty"
            )
        return value
