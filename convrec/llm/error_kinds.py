"""What an endpoint's error is about: its own codes and words first, the HTTP status last.

The same status means different things: 403 is a key without rights or one flagged conversation,
429 a busy minute or an empty account, 400 a bad parameter, a missing model or a long conversation.
"""

from __future__ import annotations

import re
from typing import Literal

from convrec.llm.error_body import ErrorBody, squashed

Kind = Literal[
    "key", "access", "quota", "daily", "model", "route", "flagged", "too_long", "busy", "other"
]
"""What an error is about.

`key`, `access`, `quota`, `daily`, `model` and `route` meet every request, `flagged` and `too_long`
concern one conversation, `busy` passes. `other` is not explained.
"""

_BUSY_STATUSES = frozenset({408, 409, 424, 425, 429, 498})


def error_kind(error: ErrorBody, status: int) -> Kind:
    """What the error is about; `status` is the HTTP status, or the error's own."""
    for decide in (_by_code, _by_status, _by_message, _by_general_code, _by_general_status):
        if kind := decide(error, status):
            return kind
    return "other"


def _by_code(error: ErrorBody, status: int) -> Kind | None:
    for kind, codes in _CODES.items():
        if not codes.isdisjoint(error.codes) and not (kind == "quota" and _is_rate_limit(error)):
            return kind
    return None


def _by_status(error: ErrorBody, status: int) -> Kind | None:
    return _STATUSES.get(status)


def _by_message(error: ErrorBody, status: int) -> Kind | None:
    if error.is_page:
        return None
    excluded = _excluded_kinds(error, status)
    for kind, pattern in _MESSAGES:
        if kind not in excluded and pattern.search(error.message):
            return kind
    return None


def _excluded_kinds(error: ErrorBody, status: int) -> set[Kind]:
    """What an error is not about, whatever its words."""
    excluded: set[Kind] = set()
    if status >= 500:  # a gateway's trouble with its own accounts and servers, which passes
        excluded |= {"key", "access", "daily", "route"}
    if status == 429 and _WAIT.search(error.message):  # too many tokens of all requests together
        excluded.add("too_long")
    if error.retry_after > 0:
        excluded.add("daily")
    if _is_rate_limit(error):
        excluded.add("quota")
    return excluded


def _by_general_code(error: ErrorBody, status: int) -> Kind | None:
    for kind, codes in _GENERAL_CODES.items():
        is_vague = status in _REFUSALS and codes.isdisjoint(error.codes - _SERVER_CODES)
        if not codes.isdisjoint(error.codes) and not is_vague:
            return kind
    return None


def _by_general_status(error: ErrorBody, status: int) -> Kind | None:
    if status in _BUSY_STATUSES or status >= 500:
        return "busy"
    if status == 413:
        return "too_long"
    if status == 403 and not error.is_page:
        return "access"
    if status == 404:
        return "model" if "model" in error.message.lower() and not error.is_page else "route"
    if status == 400 and _NEEDS_HTTPS.search(error.message):
        return "route"
    if 400 <= status < 500 and _TOO_LONG_ALONE.search(error.message):
        return "too_long"
    return None


def _is_rate_limit(error: ErrorBody) -> bool:
    """Whether a quota is a rate limit after all: Google calls each of its limits a quota."""
    passes = "resourceexhausted" in error.codes or error.retry_after > 0
    return passes and not _EMPTY.search(error.message)


def _codes(*words: str) -> frozenset[str]:
    return frozenset(map(squashed, words))


_STATUSES: dict[int, Kind] = {401: "key", 402: "quota", 405: "route", 501: "route"}
"""HTTP statuses that no message changes."""

_CODES: dict[Kind, frozenset[str]] = {
    "flagged": _codes(
        *("content_policy_violation", "content_filter", "content_filtered", "flagged_input"),
        *("ResponsibleAIPolicyViolation", "moderation", "moderation_blocked", "safety"),
        *("content_moderation", "prohibited_content", "blocklist", "recitation", "spii"),
        *("data_inspection_failed", "invalid_prompt", "sensitive_words_detected", "unsafe_content"),
        *("content_management_policy", "input_moderation", "guardrail_intervened", "1301"),
        *("content_policy", "moderation_error", "inappropriate_content", "content_blocked"),
        *("new_sensitive", "input_new_sensitive", "output_new_sensitive"),
    ),
    "daily": _codes("per_day"),
    "quota": _codes(
        *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"),
        *("insufficient_balance", "insufficient_credits", "insufficient_funds", "arrearage"),
        *("payment_required", "billing_error", "exceeded_current_quota_error", "budget_exceeded"),
        *("insufficient_user_quota", "credits_exhausted", "out_of_credits", "billing_disabled"),
        *("pre_consume_token_quota_failed", "quota_not_enough"),
    ),
    "key": _codes(
        *("invalid_api_key", "api_key_invalid", "incorrect_api_key", "expired_api_key"),
        *("missing_api_key", "api_key_expired", "account_deactivated", "invalid_authentication"),
        *("invalid_authentication_error", "authentication_error", "unauthenticated"),
        *("api_key_disabled", "token_expired", "invalid_token"),
    ),
    "access": _codes(
        *("unsupported_country_region_territory", "service_disabled", "consumer_suspended"),
        *("account_suspended", "organization_disabled", "ip_not_authorized"),
    ),
    "too_long": _codes(
        *("context_length_exceeded", "string_above_max_length", "context_window_exceeded"),
        *("exceed_context_size_error", "prompt_too_long", "input_too_long", "request_too_large"),
        *("array_above_max_length", "context_length_error", "max_tokens_exceeded", "1261"),
    ),
    "model": _codes(
        *("model_not_found", "deployment_not_found", "model_not_available", "unknown_model"),
        *("invalid_model", "model_not_supported", "unsupported_model", "model_deprecated"),
        *("model_decommissioned", "no_such_model", "model_does_not_exist", "model_not_exist"),
        *("model_unavailable", "invalid_model_error", "model_not_loaded"),
    ),
}

_SERVER_CODES = _codes("api_error", "server_error", "internal_error", "internal_server_error")
_REFUSALS = frozenset({400, 403, 404, 422})
"""Ollama calls everything an `api_error`: with these statuses the code says nothing."""

_GENERAL_CODES: dict[Kind, frozenset[str]] = {
    "busy": _codes(
        *("rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "rate_limited"),
        *("too_many_requests", "resource_exhausted", "overloaded_error", "overloaded"),
        *("engine_overloaded", "engine_overloaded_error", "server_overloaded", "server_error"),
        *("internal_error", "internal_server_error", "internal", "unavailable", "api_error"),
        *("service_unavailable", "unavailable_error", "timeout", "timeout_error", "aborted"),
        *("deadline_exceeded", "throttling_exception", "throttling", "capacity_exceeded"),
        *("model_loading", "request_timeout", "quota_exceeded", "rate_limit"),
    ),
    "access": _codes(
        *("permission_denied", "permission_error", "forbidden", "access_denied"),
        *("access_denied_exception", "unauthorized_access", "access_terminated_error"),
    ),
    "key": _codes("unauthorized"),
}
"""Codes that say little: they count only if neither other codes nor the message decide."""

_FLAGGED = r"""
    \bflagged\b (?!\ as\ (?:deprecated|unavailable))
  | \bmoderation\b
  | content[ _-]? (?:management[ _-]?)? (?:polic|filter)
  | usage\ (?:polic|guideline)
  | violat\w+ …{0,60} (?:polic|guideline|terms|rules|safety|standards)
  | \b(?:inappropriate|unsafe|prohibited|harmful|sensitive|objectionable)\ (?:content|input|prompt
        |information|words?|text|material|request)
  | safety\ (?:system|filter|check|setting|reason|polic|guideline)
  | responsible\ ai
  | guardrails?\b …{0,30} (?:interven|block|trigger|violat)
  | considered\ high\ risk
  | blocked\ (?:by|due\ to|because\ of|for) …{0,40} (?:safety|content|polic)
  | blocked\ (?:prompt|content|input)
  | (?:prompt|input|content|conversation)\ (?:was|is|has\ been|were)\ (?:blocked|rejected)
  | 不安全|敏感|违规|违反
"""
_ACCOUNT = r"""
    (?:account|organi[sz]ation|project|subscription|workspace|team|\bkey) …{0,60}
      \b(?:suspend|disabled|deactivat|banned|terminated|restricted|blocked|not\ active|inactive)
  | (?:country|region|location|territory)\b …{0,40} (?:not|n't)\ (?:supported|available|allowed)
  | not\ (?:supported|available|allowed)\ in\ your\ (?:country|region|location)
  | organi[sz]ation\ must\ be\ verified | terms\ acceptance
  | accept\ the\ (?:terms|licen[sc]e|agreement)
  | (?:not|n't)\ (?:have\ (?:access|permission)|allowed\ to\ access|authori[sz]ed\ to)
"""
_TOO_LONG = r"""
    maximum\ (?:context|model|prompt|input|sequence|allowed\ input)\ length
  | context[ _](?:window|size|length|limit)
  | \bmax_model_len\b
  | (?:prompt|input|conversation|message|text|request)s?\b …{0,60}
      \b(?:too\ (?:long|large|big|many\ tokens)|longer\ than)
  | longer\ than\ the\ (?:maximum\ )?(?:model|context|allowed)
  | (?:token\ count|tokens|prompt|input)\b …{0,60} \bexceed(?:s|ed)?\b …{0,40}
      \b(?:max|limit|allowed|available|context|model|length)
  | exceed(?:s|ed)?\ (?:the\ )?max(?:imum)?\ (?:length|(?:number\ of\ )?(?:input\ )?tokens)
  | too\ many\ (?:input\ |total\ |prompt\ )?tokens
  | must\ have\ less\ than\ \d+\ tokens
  | `inputs`\ tokens\ \+
  | request\ too\ large
  | range\ of\ input\ length
  | prompt\ contains\ \d+\ tokens
  | context\ shift\ is\ disabled
"""
_QUOTA = r"""
    insufficient[ _-](?:\w+[ _-])?(?:balance|credit|quota|fund)
  | (?:balance|credits?)\b …{0,30} \b(?:too\ low|insufficient|exhausted|depleted|used\ up
        |not\ enough|negative)
  | out\ of\ (?:credit|quota|fund)
  | not\ enough\ (?:credit|balance|quota|fund)
  | (?:add|purchase|buy)\ (?:more\ |additional\ )?(?:\d+\ )?(?:credit|fund)
  | requires\ more\ credits
  | exceeded\ your\ (?:current\ |monthly\ |included\ |assigned\ )*(?:quota|credit|budget|spend)
  | check\ your\ plan\ and\ billing
  | billing\b …{0,40} \b(?:hard\ limit|not\ active|inactive|disabled|enable|required)
  | payment\ (?:is\ )?required
  | budget\ (?:has\ been\ |is\ )?exceeded
  | (?:reached|exceeded)\ (?:your|the) …{0,30} \busage\ limits?\b
  | \busage\ limits?\ (?:is\ )?(?:reached|exceeded)
  | exhausted\ (?:its|your|the) …{0,20} \b(?:budget|credit|quota)
  | \b(?:monthly|weekly)\b …{0,30} \b(?:limit|quota|allowance|allocation|spend)
  | (?:\bper\ |/\ ?)(?:month|week)\b
  | limit:\ 0(?!\.?\d)
  | overdue|arrear|余额不足|欠费|额度不足
"""
_DAILY = r"""
    \bper[ -]day\b | \bdaily\b …{0,40} \b(?:limit|quota|allowance|allocation)
  | \b(?:limit|quota)\b …{0,40} \b(?:today|for\ the\ day)\b
"""
_KEY = r"""
    api[ _-]?key\b …{0,60} \b(?:not\ valid|invalid|incorrect|expired|missing|not\ (?:found
        |provided|set|exist)|revoked|leaked|required|wrong)
  | (?:invalid|incorrect|missing|expired|wrong|no|unknown|bad)\b …{0,20} \b
      (?:api[ _-]?key|authenti|authoriz|credential|access\ token|bearer|subscription\ key)
  | (?:provide|pass|use)\ (?:a\ |an\ )?(?:valid\ )?api[ _-]?key
  | \bauthenticat(?:e|ion)\b …{0,30} \b(?:fail|required|invalid)
  | validate\ credentials | \blog[ -]?in\ fail
"""
_BUSY = r"""
    \bmodel\b …{0,80} \b(?:(?:is\ |currently\ |still\ )+(?:loading|warming|starting)
        |being\ loaded)
  | loading\ model
  | \bis\ loading\b
  | \bnot\ (?:yet\ )?ready\b | \bmodel\ has\ crashed
  | over(?:loaded|\ capacity) | at\ capacity | no\ capacity
  | temporarily | server\ is\ busy | too\ busy | service\ unavailable | queue\ (?:is\ )?full
  | rate[ -]?limit | too\ many\ (?:concurrent\ )?requests | throttl
  | requests?\ per\ (?:second|minute|hour) | tokens\ per\ min
  | (?:wait|pause)\ before | try\ again\ (?:later|in\b|after|shortly|soon) | timed?[ -]?out
  | no\ (?:healthy|available)\ (?:deployment|server|instance|worker|upstream)
"""
_MODEL = r"""
    (?:model|deployment|engine)\b …{0,100}? \b(?:(?:not|isn't)\ (?:be\ )?(?:found|exist|loaded
        |deployed|served|a\ valid|available|support(?:ed)?\b)|does(?:\ not|n't)\ exist|no\ longer
        |decommissioned|unloaded|has\ been\ (?:shut|retired|removed|deprecated)
        |is\ (?:unknown|invalid|deprecated))
  | models/\S+\ is\ not\ found
  | (?:no|unknown|invalid|unsupported|unrecognized|wrong)\ (?:such\ )?(?:models?|deployments?)\b
      (?!\ (?:output|response|content|answer))
  | no\ (?:endpoints|allowed\ providers|available\ channel)\b
  | (?:unable\ to\ access|failed\ to\ load|could\ not\ (?:find|load)|cannot\ find)\b …{0,20}
      \bmodel
  | (?:not|n't)\ (?:support\ (?:chat|embedding|generat)|work\ with\ the\ specified\ model)
  | unexpected\ model\ name | \b(?:endpoint|deployment)\ is\ paused
  | not\ a\ valid\ model | not\ a\ chat\ model | no\ models?\ loaded
  | model\ (?:not\ exist|unloaded|is\ unloaded)
"""
_ROUTE = r"""
    \bapi[ -]version\b …{0,40} \b(?:(?:not|un)[ ]?(?:supported|available|found)|invalid|required
        |missing|unknown)
  | (?:unexpected|unknown|invalid|no\ such|unsupported)\ (?:endpoint|route|url|path)\b
"""


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern in which `…` stands for a character of the same sentence; names contain dots."""
    return re.compile(text.replace("…", r"(?:(?!\.\s)[^\n])"), re.IGNORECASE | re.VERBOSE)


_MESSAGES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("access", _pattern(_ACCOUNT)),
    ("flagged", _pattern(_FLAGGED)),
    ("too_long", _pattern(_TOO_LONG)),
    ("daily", _pattern(_DAILY)),
    ("quota", _pattern(_QUOTA)),
    ("key", _pattern(_KEY)),
    ("busy", _pattern(_BUSY)),
    ("model", _pattern(_MODEL)),
    ("route", _pattern(_ROUTE)),
)
"""In this order: a message that fits several means the first."""

_WAIT = re.compile(r"\bwait\b|(?:try|retry) again", re.I)
_EMPTY = _pattern(r"\bcredits?\b …{0,40} deplet | \bbalance\b | limit:\ 0(?!\.?\d)")
"""What no waiting changes, although Google gives it the code of a rate limit."""

_NEEDS_HTTPS = re.compile(r"\bHTTP request\b.{0,20}\bHTTPS (?:server|port)", re.I)
_TOO_LONG_ALONE = re.compile(r"too (long|large)", re.I)
