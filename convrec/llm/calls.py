"""One HTTP call to the endpoint, and what its outcome means for the others.

Every failure is one of three kinds: `transient` is worth another attempt, `request` is about this
conversation alone, `terminal` would meet every request alike and stops the run. Reasons are
sentences for people: they hold neither the key nor words of the conversation.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from convrec.llm.endpoint import is_loopback, public_url
from convrec.llm.prices import Usage

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_ONE_CONVERSATION = {
    "context_length_exceeded": "the conversation is too long for the model (HTTP 400)",
    "string_above_max_length": "the conversation is too long for the endpoint (HTTP 400)",
    "content_policy_violation": "the endpoint's content policy refused the conversation (HTTP 400)",
    "content_filter": "the endpoint's content filter refused the conversation (HTTP 400)",
}
_TOO_LONG = re.compile(r"maximum context length|context (window|size|length)|too long", re.I)
_SECRET = re.compile(r"\b(sk|key|Bearer)[-_ ][\w*.\-]{6,}", re.I)


@dataclass(frozen=True)
class Answered:
    """A usable response: its raw text and the billed tokens."""

    response: str
    usage: Usage


@dataclass(frozen=True)
class Failure:
    """A call without an answer. `usage` is what was billed all the same."""

    kind: Literal["transient", "request", "terminal"]
    reason: str
    status: int = 0
    retry_after: float = 0.0
    unreachable: bool = False
    explained: bool = True
    usage: Usage | None = None


class Caller:
    """Sends request bodies to one endpoint, one attempt each."""

    def __init__(self, base_url: str, key: str, timeout: float) -> None:
        self.url = public_url(base_url)
        self._key = key
        self._timeout = timeout
        self._client = _client(base_url, key, timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def call(self, body: Mapping[str, Any]) -> Answered | Failure:
        """Send exactly `body`, and read the response no further than its envelope."""
        import openai

        try:
            async with asyncio.timeout(self._timeout):
                text = await self._client.post("/chat/completions", body=dict(body), cast_to=str)
        except (openai.APITimeoutError, TimeoutError):
            return Failure("transient", f"no answer within {self._timeout:g} s")
        except openai.APIConnectionError as error:
            return self._not_connected(error)
        except openai.APIStatusError as error:
            return self._refused(error, body)
        return read_response(text, body)

    def _not_connected(self, error: Exception) -> Failure:
        cause = type(error.__cause__).__name__
        if cause in ("UnsupportedProtocol", "InvalidURL", "LocalProtocolError"):
            return Failure(
                "terminal", f"{self.url} is not an http or https address; correct llm.base_url"
            )
        if cause in ("ConnectError", "ConnectTimeout"):
            return Failure("transient", "the endpoint cannot be reached", unreachable=True)
        return Failure("transient", "the connection was dropped")

    def _refused(self, error: APIStatusError, body: Mapping[str, Any]) -> Failure:
        status, code, model = error.status_code, error.code or "", body.get("model")
        said = self._said(error, body)
        if status == 401:
            return self._terminal(
                status, f"refuses the key in OPENAI_API_KEY{said}; set a valid one"
            )
        if status == 403:
            return self._terminal(status, f"does not allow this key to use model {model!r}{said}")
        if status == 402 or code in ("insufficient_quota", "billing_hard_limit_reached"):
            return self._terminal(
                status, "says that the quota of this key is used up; add credit and run again"
            )
        if code == "model_not_found" or (status == 404 and "model" in said.lower()):
            return self._terminal(
                status,
                f"does not know model {model!r}; name one of its models in recommend.model "
                "and reflect.model",
            )
        if status == 404:
            return self._terminal(
                status, "has no /chat/completions; give llm.base_url as it ends, mostly in /v1"
            )
        if status in (408, 409, 425, 429) or status >= 500:
            return Failure(
                "transient", f"HTTP {status}{said}", status, retry_after(error.response.headers)
            )
        if code in _ONE_CONVERSATION:
            return Failure("request", _ONE_CONVERSATION[code], status)
        if status == 413 or _TOO_LONG.search(error.message):
            return Failure("request", f"the conversation is too long (HTTP {status})", status)
        if error.param and not error.param.startswith("messages"):
            return self._terminal(status, f"does not accept {error.param!r}{said}")
        return Failure("request", f"HTTP {status}{said}", status, explained=False)

    def _terminal(self, status: int, text: str) -> Failure:
        return Failure("terminal", f"{self.url} {text} (HTTP {status})", status)

    def _said(self, error: APIStatusError, body: Mapping[str, Any]) -> str:
        """What the endpoint said in its error, where it can be shown."""
        inner = error.body if isinstance(error.body, Mapping) else {}
        message = " ".join(str(inner.get("message") or "").split())[:160]
        if (self._key and self._key in message) or _SECRET.search(message):
            message = _SECRET.sub("…", message.replace(self._key, "…"))
        if not message or _repeats(message, json.dumps(body, ensure_ascii=False)):
            return ""
        return f": {message.rstrip('.')}"


def read_response(text: str, body: Mapping[str, Any]) -> Answered | Failure:
    """Tell an answer from a broken or empty response; the words in it are not looked at."""
    try:
        response = json.loads(text)
    except ValueError:
        return Failure("transient", "the response is broken JSON")
    if not isinstance(response, dict):
        return Failure("transient", "the response is not a JSON object")
    choices = response.get("choices")
    usage = _usage(response, text, body)
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        billed = usage if response.get("usage") else None
        return Failure("transient", "the response holds no choices", usage=billed)
    return Answered(text, usage)


def prompt_bytes(body: Mapping[str, Any]) -> int:
    """UTF-8 bytes of what the model reads: messages, tools and response schema."""
    read = [body.get(name) for name in ("messages", "tools", "response_format")]
    return len(json.dumps(read, ensure_ascii=False).encode())


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait that the endpoint asks for, in any of its three forms; 0 without one."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            try:
                return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
            except ValueError:
                continue
    return 0.0


def _usage(response: Mapping[str, Any], text: str, body: Mapping[str, Any]) -> Usage:
    """Billed tokens; where an endpoint reports none, an upper estimate of 3 bytes a token."""
    usage = response.get("usage")
    if not isinstance(usage, Mapping):
        return Usage(prompt_bytes(body) // 3, 0, len(text.encode()) // 3)
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(
        prompt=int(usage.get("prompt_tokens") or 0),
        cached=int(cached or 0),
        completion=int(usage.get("completion_tokens") or 0),
    )


def _repeats(message: str, text: str, length: int = 24) -> bool:
    return any(message[i : i + length] in text for i in range(max(1, len(message) - length + 1)))


def _client(base_url: str, key: str, timeout: float) -> AsyncOpenAI:
    """An `openai` client that leaves retries to us, and asks no proxy for this machine."""
    import openai

    http_client = openai.DefaultAsyncHttpxClient(trust_env=False) if is_loopback(base_url) else None
    return openai.AsyncOpenAI(
        api_key=key, base_url=base_url, timeout=timeout, max_retries=0, http_client=http_client
    )
