"""OpenAI's chat completions, as far as a list needs them: requests, responses and errors."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convrec.utils.unicode_text import to_valid_unicode

MAX_ITEMS = 200
"""Items that one list may have."""

_SPEAKERS = {"user": "USER", "assistant": "SYSTEM"}
"""Role → the speaker in conversations of the training data."""

_UNSUPPORTED = ("tools", "functions", "logprobs", "audio", "modalities")


class ApiError(Exception):
    """A refusal with an HTTP status, in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The JSON of the response."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else None)
        error = {
            "message": str(self),
            "type": kind or "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


class Part(BaseModel):
    """A part of a message; only text can be read."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A message of a conversation."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The text of all parts."""
        if self.content is None or isinstance(self.content, str):
            return (self.content or "").strip()
        return "\n".join(part.text for part in self.content).strip()


class ResponseFormat(BaseModel):
    """`text`: one line per item; `json_object`: an object with the items."""

    type: Literal["text", "json_object"] = "text"


class StreamOptions(BaseModel):
    """Whether the stream ends with the counts of tokens."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a request. Sampling parameters have no effect: lists are those of `served`."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str
    messages: list[Message] = Field(min_length=1, max_length=1000)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    response_format: ResponseFormat = ResponseFormat()
    n: Literal[1] | None = 1
    list_length: int | None = Field(None, ge=1, le=MAX_ITEMS)


def parse_request(body: bytes) -> ChatRequest:
    """The request in a body. Raises ApiError."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON", code="invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    for name in _UNSUPPORTED:
        if value.get(name):
            raise ApiError(400, f"{name} is not supported: answers are lists", param=name)
    given = {name: setting for name, setting in value.items() if setting is not None}
    try:
        return ChatRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        if place.startswith("response_format"):
            message += "; use text or json_object"
        raise ApiError(400, message, param=str(first["loc"][0])) from None


def conversation(messages: Sequence[Message]) -> str:
    """The conversation as the model reads it; messages of the system are left out.

    One message is its text; several begin with their speaker, as in training data. Raises ApiError
    if no message of the user has text.
    """
    turns = [message for message in messages if message.role in _SPEAKERS and message.text]
    if not any(turn.role == "user" for turn in turns):
        raise ApiError(400, "messages has no text of the user", param="messages")
    if len(turns) == 1:
        return to_valid_unicode(turns[0].text)
    text = "\n".join(f"{_SPEAKERS[turn.role]}: {turn.text}" for turn in turns)
    return to_valid_unicode(text)


class Reply:
    """Builds the objects that answer one request."""

    def __init__(self, model: str) -> None:
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._model = model
        self._created = int(time.time())

    def completion(
        self, content: str, usage: dict[str, int], more: dict[str, Any]
    ) -> dict[str, Any]:
        """The whole answer; `more` is put under the key `convrec`."""
        message = {"role": "assistant", "content": content, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage,
            "convrec": more,
        }

    def chunk(
        self, delta: dict[str, Any], *, finish: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """A part of a streamed answer."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **more}

    def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """The last part of a stream that counts tokens."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
        }
