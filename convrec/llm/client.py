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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from convrec.llm.endpoint import is_loopback, public_url
from convrec.llm.prices import Usage
from convrec.llm.progress import format_duration
from convrec.llm.rate_limit import parse_number
from convrec.llm.requests import Request, route

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_ONE_CONVERSATION = {
    "context_length_exceeded": "the conversation is too long for the model (HTTP 400)",
    "string_above_max_length": "the conversation is too long for the endpoint (HTTP 400)",
    "content_policy_violation": "the endpoint's content policy refused the conversation (HTTP 400)",
    "content_filter": "the endpoint's content filter refused the conversation (HTTP 400)",
}
_TOO_LONG = re.compile(r"maximum context length|context (window|size|length)|too long", re.I)
MIN_KEY_LENGTH = 8
"""Characters from which on a key is a secret rather than a placeholder."""

MAX_RETRY_AFTER = 600.0
"""Seconds that an endpoint may ask to wait; a run that would wait longer stops and says so."""

MAX_TOKENS = 10**9
"""In one response; a larger number is a mistake."""

MAX_DEPTH = 100
"""Levels of a response; a stored one is read again where the stack has less room than here."""

_SECRET = re.compile(r"\b(sk|key|Bearer)[-_ ][\w*.\-]{6,}", re.I)


@dataclass(frozen=True)
class Success:
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


class EndpointClient:
    """Sends requests to one endpoint, one attempt each; `learn` is shown all response headers."""

    def __init__(
        self,
        base_url: str,
        key: str,
        timeout: float,
        learn: Callable[[Mapping[str, str]], object] = lambda headers: None,
    ) -> None:
        self.url = public_url(base_url)
        self._key = key
        self._timeout = timeout
        self._learn = learn
        self._client = _openai_client(base_url, key, timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def call(self, request: Request) -> Success | Failure:
        """Send exactly the request's body, and read the response no further than its envelope.

        The request key goes along as `X-Client-Request-Id`, for the endpoint's own logs.
        """
        import openai

        headers = {"X-Stainless-Raw-Response": "true", "X-Client-Request-Id": request.key}
        try:
            async with asyncio.timeout(self._timeout):
                raw: Any = await self._client.post(
                    request.route,
                    body=dict(request.body),
                    cast_to=str,
                    options={"headers": headers},
                )
        except (openai.APITimeoutError, TimeoutError):
            return Failure("transient", f"no answer within {self._timeout:g} s")
        except openai.APIConnectionError as error:
            return connection_failure(self.url, error)
        except openai.APIStatusError as error:
            self._learn(error.response.headers)
            return status_failure(self.url, self._key, error, request.body)
        self._learn(raw.headers)
        return parse_response(mask_key(raw.text, self._key), request.body)


def connection_failure(url: str, error: Exception) -> Failure:
    """What a call without any response means."""
    cause = type(error.__cause__).__name__
    if cause in ("UnsupportedProtocol", "InvalidURL", "LocalProtocolError"):
        return Failure("terminal", f"{url} is not an http or https address; correct llm.base_url")
    if cause in ("ConnectError", "ConnectTimeout"):
        return Failure("transient", "the endpoint cannot be reached", unreachable=True)
    return Failure("transient", "the connection was dropped")


def status_failure(url: str, key: str, error: APIStatusError, body: Mapping[str, Any]) -> Failure:
    """What an HTTP error status means."""
    said = error.body if isinstance(error.body, Mapping) else {}
    wait = retry_after_seconds(error.response.headers)
    return error_failure(url, key, error.status_code, said, body, wait)


def error_failure(
    url: str,
    key: str,
    status: int,
    error: Mapping[str, Any],
    body: Mapping[str, Any],
    wait: float = 0.0,
) -> Failure:
    """What an error object `{message, code, param}` with an HTTP status means for the others."""
    code, param, model = str(error.get("code") or ""), error.get("param"), body.get("model")
    message = str(error.get("message") or error.get("detail") or "")
    said = _said(message, key, body)

    def terminal(text: str) -> Failure:
        return Failure("terminal", f"{url} {text} (HTTP {status})", status)

    if status == 401:
        return terminal(
            f"refuses the key{said}; set a valid one in OPENAI_API_KEY, or in the Secret block "
            "that llm.secret names"
        )
    if status == 403:
        return terminal(f"does not allow this key to use model {model!r}{said}")
    if status == 402 or code in ("insufficient_quota", "billing_hard_limit_reached"):
        return terminal("says that the quota of this key is used up; add credit and run again")
    if code == "model_not_found" or (status == 404 and "model" in said.lower()):
        return terminal(
            f"does not know model {model!r}; name one of its models in recommend.model, "
            "reflect.model and remap.model"
        )
    if status == 404:
        return terminal(f"has no {route(body)}; give llm.base_url as it ends, mostly in /v1")
    if status in (408, 409, 425, 429) or status >= 500:
        if wait > MAX_RETRY_AFTER:
            return terminal(
                f"asks for a pause of {format_duration(wait)}{said}; what was answered is kept, "
                "so run again then to go on from here"
            )
        return Failure("transient", f"HTTP {status}{said}", status, wait)
    if code in _ONE_CONVERSATION:
        return Failure("request", _ONE_CONVERSATION[code], status)
    if status == 413 or _TOO_LONG.search(message):
        return Failure("request", f"the conversation is too long (HTTP {status})", status)
    if param and not str(param).startswith(("messages", "input")):
        return terminal(f"does not accept {param!r}{said}")
    return Failure("request", f"HTTP {status}{said}", status, explained=False)


def mask_key(text: str, key: str) -> str:
    """The text without the key, in case an endpoint repeats it."""
    return text.replace(key, "…") if len(key) >= MIN_KEY_LENGTH and key in text else text


def _said(message: str, key: str, body: Mapping[str, Any]) -> str:
    """What the endpoint said in its error, where it can be shown."""
    shown = _SECRET.sub("…", mask_key(" ".join(message.split()), key))[:160]
    if not shown or _repeats(shown, json.dumps(body, ensure_ascii=False)):
        return ""
    return f": {shown.rstrip('.')}"


def parse_response(text: str, body: Mapping[str, Any]) -> Success | Failure:
    """Tell an answer from a broken or empty response; the words in it are not looked at."""
    try:
        response = json.loads(text)
    except (ValueError, RecursionError):
        return Failure("transient", "the response is broken JSON")
    if not isinstance(response, dict):
        return Failure("transient", "the response is not a JSON object")
    usage = _usage(response, text, body)
    if lack := _lack(response, body):
        billed = usage if response.get("usage") else None
        return Failure("transient", f"the response holds {lack}", usage=billed)
    return Success(text, usage)


def _deeper(value: object, levels: int) -> bool:
    """Whether lists and objects stand in each other deeper than so many levels."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(
        not levels or _deeper(one, levels - 1) for one in inside if isinstance(one, (dict, list))
    )


def _lack(response: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """What a response holds in place of an answer; empty where it is whole."""
    if _deeper(response, MAX_DEPTH):
        return f"more than {MAX_DEPTH} levels"
    if "input" in body:
        data = response.get("data")
        count = len(data) if isinstance(data, list) else 0
        return "" if count == len(body["input"]) else "not one embedding for each text"
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return "no choices"
    # A gateway that has begun to answer says 200, and in the body that the model broke off.
    return "an error beside its choices" if response.get("error") or first.get("error") else ""


def prompt_bytes(body: Mapping[str, Any]) -> int:
    """UTF-8 bytes of what the model reads: messages, tools and response schema, or input."""
    if "input" in body:
        return sum(len(text.encode()) for text in body["input"])
    read = [body.get(name) for name in ("messages", "tools", "response_format")]
    return len(json.dumps(read, ensure_ascii=False).encode())


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Seconds to wait that the endpoint asks for, in any of its three forms; 0 without one."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        try:
            return max(0.0, parse_number(value) * scale)
        except ValueError:
            try:
                return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
            except (ValueError, OverflowError):
                continue
    return 0.0


def _usage(response: Mapping[str, Any], text: str, body: Mapping[str, Any]) -> Usage:
    """Billed tokens; where an endpoint reports no usable ones, at the most: 3 bytes a token."""
    usage = response.get("usage")
    mute = "input" in body
    try:
        if isinstance(usage, Mapping):
            return _reported(usage, mute)
    except (TypeError, ValueError, OverflowError):  # no numbers of tokens
        pass
    said = 0 if mute else len(text.encode()) // 3
    return Usage(prompt_bytes(body) // 3, 0, said)


def _reported(usage: Mapping[str, Any], mute: bool) -> Usage:
    """Tokens as an endpoint reports them; `mute` says nothing. Raises ValueError for half of them.

    Some count what the cache gave, or what was thought, beside the rest and not in it; then it is
    in `total_tokens`, and billed.
    """
    prompt = _count(usage, "prompt_tokens")
    if not prompt or (not mute and usage.get("completion_tokens") is None):
        raise ValueError
    cached = _count(usage.get("prompt_tokens_details"), "cached_tokens")
    if cached > prompt:
        prompt += cached
    if mute:
        return Usage(prompt, cached, 0)
    said = max(_count(usage, "completion_tokens"), _count(usage, "total_tokens") - prompt)
    thought = _count(usage.get("completion_tokens_details"), "reasoning_tokens")
    return Usage(prompt, cached, said if thought <= said else said + thought, thought)


def _count(group: object, name: str) -> int:
    """A number of tokens, 0 where it is absent. Raises ValueError where it cannot be one."""
    number = int(group.get(name) or 0) if isinstance(group, Mapping) else 0
    if not 0 <= number <= MAX_TOKENS:
        raise ValueError
    return number


_ECHO = 24
"""Signs of a message that show where another text repeats it."""


def _repeats(message: str, text: str) -> bool:
    return any(message[i : i + _ECHO] in text for i in range(max(1, len(message) - _ECHO + 1)))


def _openai_client(base_url: str, key: str, timeout: float) -> AsyncOpenAI:
    """An `openai` client that leaves retries to us, and asks no proxy for this machine."""
    import openai

    http_client = openai.DefaultAsyncHttpxClient(trust_env=False) if is_loopback(base_url) else None
    return openai.AsyncOpenAI(
        api_key=key, base_url=base_url, timeout=timeout, max_retries=0, http_client=http_client
    )
