"""Which parameters a model accepts: what an endpoint refuses, and how requests go on without it.

A parameter that an endpoint calls unsupported is left out for the rest of the run; a token limit
is first sent under its other name. The request key stays that of the full request.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from convrec.llm.error_body import ErrorBody

_LOG = logging.getLogger(__name__)

TOKEN_PARAMETERS = ("max_tokens", "max_completion_tokens")

OPTIONAL_PARAMETERS = frozenset({*TOKEN_PARAMETERS, "temperature", "stream", "encoding_format"})
"""What a request can do without: the answer is the same kind of answer."""

SCHEMA_OF_JSON_OBJECT = "response_format.schema"
"""What `llama_cpp.server` takes and others may refuse; the prompt describes it in words."""

_CONTENT = ("model", "messages", "input", "prompt", "input_tokens")
"""What a request is about, as opposed to how it is answered."""

_CODES = frozenset(
    {
        *("unsupportedparameter", "unsupportedvalue", "unknownparameter", "unrecognizedparameter"),
        *("extraforbidden", "valueerrorextra", "invalidparameter", "unsupported"),
        *("invalidjsonschema", "parameterunknown", "notimplementederror"),
    }
)
_UNSUPPORTED = re.compile(
    r"unsupported|(?:not|n't)\s+(?:\w+\s+)?(?:support|permit|allow|accept|implement|recogni[sz]e"
    r"|available|a valid|valid|known|compatible)|unrecogni[sz]ed|unknown|unexpected"
    r"|cannot find field|extra (?:inputs|fields)|deprecated|only the default"
    r"|only [\d.]+ is (?:allowed|supported|accepted)"
    r"|use '?\"?`?max_|incompatible|unavailable"
    r"|cannot be (?:used|set|specified)|no longer|removed",
    re.I,
)
_EXTRA = re.compile(r"unknown|unrecognized|extra|not permitted", re.I)
_VALUE = re.compile(
    r"too (?:large|high|big|small|low)|at (?:most|least)|must be|has to be|should be|between"
    r"|(?:less|greater|more|lower|higher) than|exceed|maximum|minimum|out of range|valid range"
    r"|positive|must have",
    re.I,
)
_CONTEXT = re.compile(r"context|input tokens|prompt|`inputs`|in the messages", re.I)
_FORMAT_NAMES = re.compile(
    r"response[_ ](?:format|schema)|output_config|(?:specified|provided|given) schema"
    r"|json[_ ]schema|structured[ _]outputs?|json[ _]mode|guided[ _]"
    r"(?:json|decoding)|\bgrammar\b",
    re.I,
)
_OF_THE_ANSWER = re.compile(
    r"could not finish|output limit was reached|failed_generation|failed to generate"
    r"|(?:generated \w+|output|completion)\b.{0,40}\b(?:not match|not valid|failed)"
    r"|validation of output",
    re.I,
)
"""The model wrote something that the endpoint does not pass on: the parameter was accepted."""


class RefusedParameter(NamedTuple):
    """A parameter that the endpoint refuses: as such (`unsupported`), or for its value."""

    name: str
    problem: Literal["unsupported", "value"]


def refused_parameter(
    error: ErrorBody, body: Mapping[str, Any], status: int
) -> RefusedParameter | None:
    """The parameter of the request `body` that an error with this HTTP status is about, if any."""
    if error.is_page or status in (401, 402, 403, 429):
        return None
    message = error.message
    if "jsonvalidatefailed" in error.codes or _OF_THE_ANSWER.search(message):
        return None
    if "response_format" in body and _is_about_format(error, message):
        is_schema = (
            "schema" in body["response_format"]
            and (error.param == SCHEMA_OF_JSON_OBJECT or SCHEMA_OF_JSON_OBJECT in message)
            and _EXTRA.search(message)
        )
        name = SCHEMA_OF_JSON_OBJECT if is_schema else "response_format"
        return RefusedParameter(name, "unsupported")
    if status >= 500:
        return None
    name = _named_parameter(error, message, body)
    if not name:
        return None
    if name in TOKEN_PARAMETERS and _CONTEXT.search(message):
        return None  # the conversation and its answer together are too long
    if not _CODES.isdisjoint(error.codes) or _UNSUPPORTED.search(message):
        return RefusedParameter(name, "unsupported")
    if error.param or _VALUE.search(message):
        return RefusedParameter(name, "value")
    return None


def _is_about_format(error: ErrorBody, message: str) -> bool:
    if error.param:
        return error.param.startswith("response_format")
    return bool(_FORMAT_NAMES.search(message))


def _named_parameter(error: ErrorBody, message: str, body: Mapping[str, Any]) -> str:
    """The parameter that the error names: its `param`, or the first of the body in its message."""
    root = re.split(r"[.\[]", error.param)[0]
    if re.fullmatch(r"messages\W.*role", error.param):
        return error.param if not _CODES.isdisjoint(error.codes) else ""
    if root:
        return "" if root in _CONTENT else root
    names = [name for name in (*body, "stream") if name not in _CONTENT]
    places = {
        name: found.start() for name in names if (found := re.search(_mention(name), message))
    }
    return min(places, key=lambda name: places[name], default="")


def _mention(name: str) -> str:
    """A pattern for the name in a message; a common word must be in quotes or before a colon."""
    if name in OPTIONAL_PARAMETERS - {"stream"}:
        return rf"(?<!\w){name}(?!\w)"
    return rf"""["'`]{re.escape(name)}\b|(?<!\w){re.escape(name)}["'`]?:"""


class AcceptedParameters:
    """What one model at one endpoint was found not to accept in a run."""

    def __init__(self, url: str, model: str) -> None:
        self._url, self._model = url, model
        self._refused: set[str] = set()

    def sent_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What is sent for the body of a request: without what was refused, and not streamed."""
        sent = dict(body)
        if "input" not in body and "stream" not in self._refused:
            sent["stream"] = False
        for name in self._refused - {*TOKEN_PARAMETERS, SCHEMA_OF_JSON_OBJECT}:
            sent.pop(name, None)
        if SCHEMA_OF_JSON_OBJECT in self._refused and "response_format" in sent:
            kept = sent["response_format"].items()
            sent["response_format"] = {key: value for key, value in kept if key != "schema"}
        for name in self._refused.intersection(TOKEN_PARAMETERS, sent):
            limit = sent.pop(name)
            if other := _other_limit(self._refused):
                sent[other] = limit
        return sent

    def leave_out(self, name: str, sent: Mapping[str, Any]) -> bool:
        """Whether a request that was refused for a parameter may be sent again without it.

        The first refusal of a parameter is logged, with the setting that avoids it.
        """
        root = name.partition(".")[0]
        if root not in sent or name not in {*OPTIONAL_PARAMETERS, SCHEMA_OF_JSON_OBJECT}:
            return False
        if name not in self._refused:
            self._refused.add(name)
            _LOG.warning("%s", self._notice(name))
        return True

    def _notice(self, name: str) -> str:
        """What is logged about a parameter that is refused for the first time."""
        other = _other_limit(self._refused) if name in TOKEN_PARAMETERS else ""
        done = f"sent as {other}" if other else "left out"
        setting = parameter_setting(self._model, name, self._refused)
        advice = (
            f". The requests keep their keys; {setting} sends new ones so from the start"
            if setting
            else ""
        )
        return (
            f"{self._url} does not accept {name} for model {self._model!r}: it is {done} for the "
            f"rest of this run{advice}"
        )


def _other_limit(refused: Collection[str]) -> str:
    """The token parameter that is not refused; empty if both are."""
    return next((name for name in TOKEN_PARAMETERS if name not in refused), "")


@lru_cache(maxsize=64)
def accepted_parameters(run: str, url: str, model: str) -> AcceptedParameters:
    """What a run knows about a model; the same object at each call."""
    return AcceptedParameters(url, model)


def parameter_setting(model: str, name: str, refused: Collection[str] = ()) -> str:
    """The `llm.models` setting that sends requests without a parameter; empty if there is none."""
    if name == "temperature":
        values = {"temperature": "none"}
    elif name in TOKEN_PARAMETERS:
        values = {"token_parameter": _other_limit({*refused, name}) or "none"}
    else:
        return ""
    return f"'llm.models={json.dumps({model: values}, ensure_ascii=False)}'"
