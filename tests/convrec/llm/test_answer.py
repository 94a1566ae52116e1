"""The answer in a response: wherever the envelope has it, and without what models write around it.

Films that the model rejects while it thinks must never be read as its answer.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.llm.answer import FILTERED, Answer, read_answer

LIST = "1. Sunrise (1927)\n2. The General (1926)"
REJECTED = "Metropolis is too long, and Nosferatu\n1. Metropolis (1927)\nhas vampires."


def answer_to(content: Any, finish: str | None = "stop", **message: Any) -> Answer:
    choice = {"message": {"content": content, **message}, "finish_reason": finish}
    return read_answer({"choices": [choice]})


# -- the envelope --------------------------------------------------------------------------------

THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": REJECTED}]}
CONTENTS: dict[str, Any] = {
    "a string": LIST,
    "a part": [{"type": "text", "text": LIST}],
    "a part after a thought": [THOUGHT, {"type": "text", "text": LIST}],
    "a part after a summary": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": REJECTED}]},
        {"type": "output_text", "text": LIST, "annotations": []},
    ],
    "a redacted thought": [
        {"type": "redacted_thinking", "data": REJECTED},
        {"type": "text", "text": LIST},
    ],
    "a thought by flag": [{"text": REJECTED, "thought": True}, {"text": LIST}],
    "a search of the endpoint": [
        {"type": "server_tool_use", "input": {"query": "silent films"}},
        {"type": "web_search_tool_result", "content": [{"title": "Metropolis (1927)"}]},
        {"type": "text", "text": LIST},
    ],
    "a nested value": [{"type": "text", "text": {"value": LIST, "annotations": []}}],
    "a message in a list": [{"type": "message", "content": [{"type": "text", "text": LIST}]}],
    "strings": LIST.split("\n"),
    "a part per line": [{"type": "text", "text": line} for line in LIST.split("\n")],
    "a torn word": [{"type": "text", "text": LIST[:20]}, {"type": "text", "text": LIST[20:]}],
    "an object": {"type": "text", "text": LIST},
    "parts in an object": {"parts": [{"text": LIST}]},
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_the_text_is_found_in_every_kind_of_content(content: Any) -> None:
    assert answer_to(content).text == LIST


def test_a_json_answer_that_the_endpoint_parsed_is_text_again() -> None:
    for parsed in ({"ratings": [{"candidate": 1, "rating": 2}]}, [{"candidate": 1, "rating": 2}]):
        assert json.loads(answer_to(parsed).text or "") == parsed


ARGUMENTS = '{"ratings": [{"candidate": 1, "rating": 2}]}'
TOOL_USE = [{"type": "tool_use", "name": "json", "input": json.loads(ARGUMENTS)}]
CALLS: dict[str, dict[str, Any]] = {
    "a tool call": {"tool_calls": [{"function": {"name": "json", "arguments": ARGUMENTS}}]},
    "parsed arguments": {"tool_calls": [{"function": {"arguments": json.loads(ARGUMENTS)}}]},
    "a function call": {"function_call": {"name": "json", "arguments": ARGUMENTS}},
}


@pytest.mark.parametrize("content", [None, "", "Here are my ratings:"])
@pytest.mark.parametrize("message", CALLS.values(), ids=CALLS)
def test_arguments_of_a_tool_call_are_the_answer(message: dict[str, Any], content: Any) -> None:
    assert json.loads(answer_to(content, **message).text or "") == json.loads(ARGUMENTS)


def test_the_input_of_a_tool_in_a_part_is_the_answer() -> None:
    assert json.loads(answer_to(TOOL_USE).text or "") == json.loads(ARGUMENTS)


def test_ratings_by_candidate_are_the_arguments_of_a_call() -> None:
    call = {"function": {"name": "rate", "arguments": '{"1": 2, "2": -1}'}}
    assert answer_to(None, "tool_calls", tool_calls=[call]).text == '{"1": 2, "2": -1}'


def test_a_search_is_no_answer() -> None:
    call = {"function": {"name": "search", "arguments": '{"query": "silent films"}'}}
    assert answer_to(None, "tool_calls", tool_calls=[call]).text is None
    assert answer_to(LIST, tool_calls=[call]).text == LIST


def test_a_list_wins_over_a_tool_call() -> None:
    call = {"function": {"name": "log", "arguments": '{"seen": ["Metropolis (1927)"]}'}}
    assert answer_to(LIST, tool_calls=[call]).text == LIST


def test_the_first_choice_with_an_answer_counts() -> None:
    empty = {"message": {"content": ""}, "finish_reason": "stop"}
    second = {"message": {"content": LIST}}
    assert read_answer({"choices": [empty, second, {"message": {"content": "no"}}]}).text == LIST


def test_the_text_of_a_completions_endpoint_is_read() -> None:
    assert read_answer({"choices": [{"text": LIST, "finish_reason": "stop"}]}).text == LIST


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_in_its_own_field_is_no_answer(name: str) -> None:
    assert answer_to(LIST, **{name: REJECTED}).text == LIST
    assert answer_to("", **{name: REJECTED}) == Answer(None, "no text: empty content")


@pytest.mark.parametrize(
    "answer",
    [
        answer_to(None, refusal="I cannot help."),
        answer_to("", refusal="I cannot help."),
        answer_to([{"type": "refusal", "refusal": "I cannot help."}]),
    ],
)
def test_a_refusal_is_the_reason(answer: Answer) -> None:
    assert (answer.text, answer.reason) == (None, "no text: I cannot help.")


@pytest.mark.parametrize("response", [{}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}])
def test_a_response_without_a_message_is_empty(response: dict[str, Any]) -> None:
    assert read_answer(response) == Answer(None, "no text: empty content")


# -- how it ended --------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_an_answer_that_ended_at_its_limit_is_cut(finish: str) -> None:
    assert answer_to(LIST, finish) == Answer(LIST, "", is_cut=True, content=LIST)


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "end_turn", "STOP", "", None])
def test_an_answer_that_ended_by_itself_is_not_cut(finish: str | None) -> None:
    assert answer_to(LIST, finish) == Answer(LIST, content=LIST)


def test_the_reason_of_the_provider_counts_too() -> None:
    choice = {"message": {"content": LIST}, "finish_reason": "stop"}
    assert read_answer({"choices": [choice | {"native_finish_reason": "MAX_TOKENS"}]}).is_cut
    details = {"finish_reason": None, "finish_details": {"type": "max_tokens"}}
    assert read_answer({"choices": [choice | details]}).is_cut
    filtered = read_answer({"choices": [choice | {"native_finish_reason": "SAFETY"}]})
    assert filtered == Answer(None, FILTERED, content=LIST)


@pytest.mark.parametrize("content", [LIST, "", None])
@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "PROHIBITED_CONTENT"])
def test_a_filtered_answer_has_no_text(content: str | None, finish: str) -> None:
    answer = answer_to(content, finish)
    assert (answer.text, answer.reason) == (None, FILTERED)


@pytest.mark.parametrize(
    "answer",
    [
        answer_to(None, "length", reasoning_content=REJECTED),
        answer_to("", "length", reasoning=REJECTED),
        answer_to([THOUGHT], "length"),
        answer_to(f"<think>{REJECTED}", "length"),
        answer_to(f"<|channel|>analysis<|message|>{REJECTED}", "length"),
        read_answer(
            {
                "choices": [{"message": {"content": ""}, "finish_reason": "length"}],
                "usage": {"completion_tokens_details": {"reasoning_tokens": 300}},
            }
        ),
    ],
)
def test_a_limit_reached_while_thinking_is_the_reason(answer: Answer) -> None:
    assert answer.text is None
    assert answer.reason == (
        "no text: the answer ended at its limit while thinking; raise max_tokens"
    )


def test_other_empty_answers_have_other_reasons() -> None:
    assert answer_to("", "length").reason == (
        "no text: the answer ended at its limit before any text; raise max_tokens"
    )
    assert answer_to("").reason == "no text: empty content"
    assert answer_to(f"<think>{REJECTED}</think>\n").reason == "no text: only thinking"


# -- thinking ------------------------------------------------------------------------------------

THINKING = {
    "think": f"<think>\n{REJECTED}\n</think>\n\n{LIST}",
    "no space": f"<think>{REJECTED}</think>{LIST}",
    "upper case": f"<THINK>{REJECTED}</Think>\n{LIST}",
    "thinking": f"<thinking>{REJECTED}</thinking>\n{LIST}",
    "reasoning": f"<reasoning>{REJECTED}</reasoning>\n{LIST}",
    "a prefix": f"<seed:think>{REJECTED}</seed:think>\n{LIST}",
    "an attribute": f'<thinking effort="high">{REJECTED}</thinking>\n{LIST}',
    "the closing tag alone": f"{REJECTED}\n</think>\n\n{LIST}",
    "empty": f"<think>\n\n</think>\n\n{LIST}",
    "an empty tag": f"<think/>\n{LIST}",
    "the opening tag twice": f"<think>\n<think>\n{REJECTED}</think>\n{LIST}",
    "nested": f"<thinking>{REJECTED}<reflection>{REJECTED}</reflection>Up\n</thinking>\n{LIST}",
    "nested in itself": f"<think>a\n<think>{REJECTED}</think>\n{REJECTED}</think>\n{LIST}",
    "two thoughts": f"<think>{REJECTED}</think>\n<think>{REJECTED}</think>\n{LIST}",
    "in a fence": f"```\n<think>{REJECTED}</think>\n{LIST}\n```",
    "before a fence": f"<think>{REJECTED}\n```\nUp\n```\n</think>\n```text\n{LIST}\n```",
    "a stray tag at the end": f"<think>{REJECTED}</think>\n{LIST}\n</think>",
    "escaped": f"&lt;think&gt;{REJECTED}&lt;/think&gt;\n{LIST}",
    "Kimi": f"◁think▷{REJECTED}◁/think▷{LIST}",
    "Magistral": f"[THINK]{REJECTED}[/THINK]{LIST}",
    "Cohere": (
        f"<|START_THINKING|>{REJECTED}<|END_THINKING|><|START_RESPONSE|>{LIST}<|END_RESPONSE|>"
    ),
    "Sky": (
        f"<|begin_of_thought|>{REJECTED}<|end_of_thought|>\n"
        f"<|begin_of_solution|>{LIST}<|end_of_solution|>"
    ),
    "Gemma": f"<|channel>thought\n{REJECTED}<channel|>{LIST}",
    "Ollama": f"Thinking...\n{REJECTED}\n...done thinking.\n\n{LIST}",
    "s1": f"<|im_start|>think\n{REJECTED}\n<|im_start|>answer\n{LIST}",
    "Solar": f"<|think|>{REJECTED}<|end|><|begin|>assistant<|content|>{LIST}<|end|>",
    "Apriel": f"{REJECTED}\n[BEGIN FINAL RESPONSE]\n{LIST}\n[END FINAL RESPONSE]",
    "Granite": f"Here is my thought process: {REJECTED}\n\nHere is my response:\n{LIST}",
    "another language": f"<思考>{REJECTED}</思考>\n{LIST}",
    "Open WebUI": f'<details type="reasoning" done="true">\n{REJECTED}\n</details>\n{LIST}',
    "headings": f"## Thinking\n\n{REJECTED}\n\n## Final Response\n\n{LIST}",
    "an answer tag": f"<think>{REJECTED}</think>\n<answer>\n{LIST}\n</answer>",
    "harmony": (
        f"<|channel|>analysis<|message|>{REJECTED}<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{LIST}<|return|>"
    ),
    "harmony with commentary": (
        f"<|channel|>analysis<|message|>{REJECTED}<|end|><|start|>assistant<|channel|>commentary"
        f" to=functions.search <|constrain|>json<|message|>{{}}<|call|>"
        f"<|start|>assistant<|channel|>final <|constrain|>text<|message|>{LIST}"
    ),
    "harmony without tokens": f"analysisWe need films. {REJECTED}assistantfinal{LIST}",
    "harmony without tokens and thinking": f"final{LIST}",
    "Apertus": f"<|inner_prefix|>{REJECTED}<|inner_suffix|>{LIST}",
}


@pytest.mark.parametrize("text", THINKING.values(), ids=THINKING)
def test_thinking_is_no_part_of_the_answer(text: str) -> None:
    assert (answer_to(text).text or "").strip() == LIST


UNCLOSED = {
    "think": f"<think>{REJECTED}",
    "after a preface": f"Let me think:\n<think>\n{REJECTED}",
    "thinking": f"<thinking>\n{REJECTED}",
    "in a fence": f"```\n<think>{REJECTED}\n```",
    "Kimi": f"◁think▷{REJECTED}",
    "Magistral": f"[THINK]{REJECTED}",
    "Gemma": f"<|channel>thought\n{REJECTED}",
    "the closing tag at the end": f"{REJECTED}</think>",
    "harmony": f"<|channel|>analysis<|message|>{REJECTED}",
    "harmony without a final message": (
        f"<|channel|>analysis<|message|>{REJECTED}<|end|><|start|>assistant"
    ),
    "harmony without tokens": f"analysisWe need films. {REJECTED}",
}


@pytest.mark.parametrize("text", UNCLOSED.values(), ids=UNCLOSED)
def test_thinking_without_an_end_is_no_answer(text: str) -> None:
    assert answer_to(text).text is None


@pytest.mark.parametrize(
    "text",
    [
        "1. Heat (1995)\n2. <think> (2019)\n3. Up (2009)",
        "1. Heat (1995)\n2. </think> (2019)\n3. Up (2009)",
        "Heat (1995)\n<Thinking> (2019)\nUp (2009)",
        "- Heat\n- [THINK]\n- Up",
        '["Heat (1995)", "<think>", "Up (2009)"]',
        '{"title": "Heat\\\\nRonin"}',
        "1. Reasoning & Analysis (2001)\n2. The Thinking <i>Man</i> (1999)",
    ],
)
def test_a_title_that_looks_like_a_tag_is_kept(text: str) -> None:
    assert answer_to(text) == Answer(text, content=text)


def test_a_list_before_an_unclosed_thought_is_kept() -> None:
    assert (answer_to(f"{LIST}\n<think>{REJECTED}", "length").text or "").strip() == LIST


# -- tokens, fences, characters ------------------------------------------------------------------

WRAPPED = {
    "a fence": f"```\n{LIST}\n```",
    "a fence with a language": f"```text\n{LIST}\n```",
    "a fence of tildes": f"~~~\n{LIST}\n~~~",
    "an open fence": f"```markdown\n{LIST}",
    "a closing fence alone": f"{LIST}\n```",
    "a fence of Windows": f"```\r\n{LIST}\r\n```\r\n",
    "a preface and a closing": f"Of course:\n```\n{LIST}\n```\nEnjoy!",
    "Llama": f"{LIST}<|eot_id|>",
    "Qwen": f"<|im_start|>assistant\n{LIST}<|im_end|>\n",
    "Mistral": f" {LIST}</s>",
    "Gemma": f"{LIST}<end_of_turn>\n<end_of_turn>",
    "DeepSeek": f"{LIST}<｜end▁of▁sentence｜>",
    "another turn": f"{LIST}<|im_end|>\n<|im_start|>user\nAnd Metropolis (1927)?",
    "an answer tag": f"<answer>{LIST}</answer>",
    "a JSON string": json.dumps(LIST),
    "a JSON string in a fence": f"```json\n{json.dumps(LIST)}\n```",
    "a JSON string in an object": json.dumps({"answer": LIST}),
    "escaped line breaks": f"{LIST}\nEnd".replace("\n", "\\n").replace("\\nEnd", "\\n"),
    "a token before it": f"<|im_end|>\n{LIST}",
    "a byte order mark": f"\ufeff{LIST}",
    "null bytes": LIST.replace(" ", "\0 "),
}


@pytest.mark.parametrize("text", WRAPPED.values(), ids=WRAPPED)
def test_what_stands_around_an_answer_is_taken_off(text: str) -> None:
    assert (answer_to(text).text or "").replace("\r", "").strip() == LIST


def test_fences_of_several_lists_are_taken_out() -> None:
    text = "Old:\n```\nSunrise (1927)\n```\nNew:\n```\nUp (2009)\n```"
    kept = [line for line in (answer_to(text).text or "").splitlines() if line]
    assert kept == ["Old:", "Sunrise (1927)", "New:", "Up (2009)"]


def test_half_a_character_becomes_a_question_mark() -> None:
    assert answer_to("1. Heat\ud83d (1995)").text == "1. Heat? (1995)"


@pytest.mark.parametrize("text", [LIST, f"{LIST}\n", " \n1. `Heat` ~~no~~", "a < b </i> [x] {y}"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert answer_to(text).text == text


def test_a_cut_answer_shows_whether_its_last_line_is_whole() -> None:
    closed = answer_to(f"```\n{LIST}\n```\nEnjoy thes", "length")
    assert closed.is_cut
    assert (closed.text or "").endswith("\n")
    for text in (LIST, f"```\n{LIST}", f"<think>{REJECTED}</think>\n{LIST}"):
        assert (answer_to(text, "length").text or "").endswith("(1926)")


PIECES = [
    *("<think>", "</think>", "<think></think>", "\n<think>a</think>\n1. b", "<", "&lt;", "</s>"),
    *("<|channel|>", "<|channel|>a", "<|channel|>final<|message|>", "<|end|>", "[THINK]", "◁"),
    *(
        "```\n",
        "```",
        "`",
        "~~~ ",
        "<answer>",
        "</answer>",
        "<s>",
        " ",
        "\n",
        "analysisA",
        "{",
        "[",
    ),
]


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_text_is_read_at_once(piece: str) -> None:
    start = time.process_time()
    answer_to(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, "Heat (1995)", "1. "]), max_size=8).map("".join))
def test_any_text_has_an_answer_or_a_reason(text: str) -> None:
    answer = answer_to(text)
    assert (answer.text is None) == bool(answer.reason)
