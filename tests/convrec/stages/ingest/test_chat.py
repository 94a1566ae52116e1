"""Prompts as chat messages: every turn with its speaker, in the forms that data sets have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.stages.ingest import read_data
from convrec.stages.ingest.chat import is_deleted, is_plain, read_completion, read_prompt
from convrec.stages.ingest.read import conversations_inputs
from convrec.stages.ingest.samples import BadRowError
from tests.support.conversation_files import data_config, post

TURNS = [
    {"role": "user", "content": "I liked Heat."},
    {"role": "assistant", "content": "Older or newer?"},
    {"role": "user", "content": "Newer please."},
]
TEXT = "User: I liked Heat.\nSystem: Older or newer?\nUser: Newer please."
SHARE_GPT = [
    {"from": {"user": "human", "assistant": "gpt"}[turn["role"]], "value": turn["content"]}
    for turn in TURNS
]


def parts(turn: dict[str, str]) -> dict[str, Any]:
    return {"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]}


@pytest.mark.parametrize(
    "value",
    [
        TURNS,
        [{"role": "system", "content": "Be brief."}, *TURNS],
        [{"role": "developer", "content": "Be brief."}, *TURNS],
        [*TURNS, {"role": "assistant", "content": "The Town (2010)"}],
        [*map(parts, TURNS)],
        [{**turn, "content": [turn["content"]]} for turn in TURNS],
        [{"role": turn["role"].upper(), "content": f" {turn['content']}\n"} for turn in TURNS],
        SHARE_GPT,
        [{"from": "system", "value": "Be brief."}, *SHARE_GPT],
        {"messages": TURNS},
        {"conversations": SHARE_GPT},
        [{"speaker": "seeker", "text": TURNS[0]["content"]}, *TURNS[1:]],
        [{"role": turn["role"], "content": turn["content"], "from": None} for turn in TURNS],
        [TURNS[0], {"role": "tool", "content": '{"found": []}'}, *TURNS[1:]],
        [TURNS[0], {"role": "assistant", "content": None, "tool_calls": []}, *TURNS[1:]],
        [TURNS[0], {"role": "user", "content": "[deleted]"}, *TURNS[1:]],
        json.dumps(TURNS),
        json.dumps(TURNS, indent=2),
        json.dumps({"messages": TURNS}),
        json.dumps(SHARE_GPT),
        json.dumps([{"id": number, **turn} for number, turn in enumerate(TURNS)]),
        json.dumps({"id": "a1", "messages": TURNS}),
        repr(TURNS),
        f"\n {json.dumps([*map(parts, TURNS)])} ",
    ],
)
def test_all_turns_are_kept_with_their_speakers(value: Any) -> None:
    assert read_prompt(value).conversation == TEXT
    assert not is_plain(value, "user")


@pytest.mark.parametrize(
    ("value", "conversation"),
    [
        ("USER: Like Heat?", "USER: Like Heat?"),
        ("Be brief. Here is the conversation: USER: Heat?\n", "USER: Heat?"),
        ([{"role": "user", "content": "USER: Heat?"}], "USER: Heat?"),
        ([{"role": "system", "content": "x"}, {"role": "user", "content": "Heat?"}], "Heat?"),
        ([{"role": "user", "content": "Heat?"}, {"role": "assistant", "content": "Ran"}], "Heat?"),
        ("[Request] Like Heat?", "[Request] Like Heat?"),
        ("[ 90s | crime ] anything?", "[ 90s | crime ] anything?"),
        ("{spoilers} A film where he dies", "{spoilers} A film where he dies"),
        ('"Heat" [1995] and more', '"Heat" [1995] and more'),
        ("USER: a\nSYSTEM: b\nUSER: c", "USER: a\nSYSTEM: b\nUSER: c"),
    ],
)
def test_one_message_is_read_as_it_always_was(value: Any, conversation: str) -> None:
    assert read_prompt(value).conversation == conversation
    assert is_plain(value, "user")


def test_the_speaker_in_a_text_is_not_repeated() -> None:
    turns = [{"role": "user", "content": "USER: Heat?"}, *TURNS[1:]]
    assert read_prompt(turns).conversation.startswith("USER: Heat?\nSystem: Older")
    other = [{"role": "user", "content": "System: reboot"}, *TURNS[1:]]
    assert read_prompt(other).conversation.startswith("User: System: reboot\nSystem: Older")


def test_the_instruction_before_the_marker_is_only_in_the_prompt() -> None:
    first = "Recommend. Here is the conversation: I liked Heat."
    prompt = read_prompt([{"role": "user", "content": first}, *TURNS[1:]])
    assert prompt.conversation == TEXT
    assert prompt.text == TEXT.replace("I liked Heat.", first)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([{"role": "narrator", "content": "x"}, *TURNS], "the unknown speaker 'narrator'"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "no text but image",
        ),
        ([{"role": "assistant", "content": "x"}], "no user message with text"),
        ([{"role": "user", "content": None}], "no user message with text"),
        ([{"content": "x"}], "no user message with text"),
        ([], "no user message with text"),
        (["x"], "neither text nor chat messages"),
        (7, "neither text nor chat messages"),
        ('[{"role": "user", "content": "x"', "neither JSON nor a Python list"),
        ("[{'role': 'user', 'content': open('x')}]", "neither JSON nor a Python list"),
        ([*TURNS[:2], {"role": "user", "content": "[removed]"}], "the post is deleted"),
        ([{"role": "user", "content": "\ud800"}, *TURNS[1:]], "not valid Unicode"),
    ],
)
def test_other_prompts_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        read_prompt(value)


@pytest.mark.parametrize(
    "post",
    [
        "[deleted]", "[removed]", "[deleted by user]", "[ Removed by Reddit ]", "USER: [deleted]",
        "\\[deleted\\]", "*[removed]*", "[removed by moderator]", "[Deleted]", "(deleted)",
        "USER: [deleted]\nUSER: [removed]", "System: [deleted]\nUser: [deleted]", "[deleted].",
    ],
)  # fmt: skip
def test_a_deleted_post_is_quarantined(post: str) -> None:
    assert is_deleted(post)
    with pytest.raises(BadRowError, match="the post is deleted"):
        read_prompt(post)


@pytest.mark.parametrize(
    "post",
    [
        "Films like [deleted] recommended", "Removed", "deleted", "USER: Deleted scenes?", "[x]",
        "[deleted]\nUSER: Like Heat?", "My post was [removed] so again: Heat?", "[removed", "",
        "[" * 5000,
    ],
)  # fmt: skip
def test_a_post_with_text_is_kept(post: str) -> None:
    assert not is_deleted(post)
    assert read_prompt(post).text == post


@pytest.mark.parametrize(
    "value",
    [
        "Ran (1985)",
        [{"role": "assistant", "content": "Ran (1985)"}],
        [{"role": "assistant", "content": [{"type": "text", "text": "Ran (1985)"}]}],
        [{"from": "gpt", "value": "Ran (1985)"}],
        {"role": "assistant", "content": "Ran (1985)"},
        json.dumps([{"role": "assistant", "content": "Ran (1985)"}]),
        [*TURNS, {"role": "assistant", "content": "Ran (1985)"}],
    ],
)
def test_completions(value: Any) -> None:
    assert read_completion(value) == "Ran (1985)"


def test_two_posts_that_end_alike_are_two_contexts(tmp_path: Path) -> None:
    other = [{"role": "user", "content": "I liked Alien."}, *TURNS[1:]]
    rows = [post(prompt=TURNS), post(prompt=other), post(prompt=json.dumps(TURNS))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = read_data(data_config(tmp_path))
    contexts = data.conversations["context_id"].to_list()
    assert len(set(contexts)) == 2
    assert contexts[0] == contexts[2]


PLAIN_ROWS = [
    post("Tom &amp; Jerry, 100% – “Ran”?"),
    post("a", prompt="USER: text", completion="Ran (1985)\n8½ (1963)"),
    post("b", completion=[{"role": "assistant", "content": "Ran"}]),
    post("c", prompt=[{"role": "system", "content": "x"}, {"role": "user", "content": "c"}]),
    post("d", seen_titles=["Amélie (2001)", ["AT&T", "1995.0"], {"title": "Ran", "year": None}]),
    post("it was [removed] there"),
    {"prompt": "no more"},
]
NEW_ROWS = [
    post(prompt=TURNS),
    post(prompt=TURNS[1:]),
    post(prompt=SHARE_GPT),
    post(prompt=json.dumps(TURNS[:1])),
    post(prompt=[parts(TURNS[0])]),
    post("[deleted]"),
    post(seen_titles=["Tom &amp; Jerry"]),
    post(seen_titles=["He\u00adat"]),
    post(seen_titles=["Heat (1995.0)"]),
    post(groundtruth_with_release_year=[["\u200bRan", "1985"]]),
    post(groundtruth_with_release_year=[["Ran", "(1985)"]]),
    post(seen_titles='["Heat"]'),
    post(completion=[{"from": "gpt", "value": "Ran"}]),
]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_only_data_read_in_a_newer_way_gets_another_id(
    tmp_path: Path, ending: str, ascii_only: bool
) -> None:
    def inputs(row: dict[str, Any]) -> dict[str, str]:
        path = tmp_path / f"rows.{ending}"
        if ending == "parquet":
            pl.DataFrame([row], strict=False).write_parquet(path)
        else:
            path.write_text(json.dumps(row, ensure_ascii=ascii_only), encoding="utf-8")
        return conversations_inputs(data_config(tmp_path))

    mixed = PLAIN_ROWS[4] if ending == "parquet" else None  # a column of several types
    for row in PLAIN_ROWS:
        if row is not mixed:
            assert inputs(row).keys() == {"conversations"}, row
    for row in NEW_ROWS:
        assert inputs(row).keys() == {"conversations", "conversations_reading"}, row


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(post("x")) + json.dumps(post("y")),
        json.dumps(post("x")) + ",",
        json.dumps([post("x")], indent=1),
        json.dumps([post("x"), post("y")]),
        json.dumps(post("x"))[:-1] + ', "prompt": "again"}',
    ],
)
def test_lines_read_in_a_newer_way_change_the_id(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.jsonl").write_text(f"{text}\n{json.dumps(post('z'))}\n")
    assert "conversations_reading" in conversations_inputs(data_config(tmp_path))


def test_a_split_named_in_a_newer_way_changes_the_id(tmp_path: Path) -> None:
    (tmp_path / "reddit-train.jsonl").write_text(json.dumps(post()))
    assert "conversations_reading" in conversations_inputs(data_config(tmp_path))
    (tmp_path / "reddit-train.jsonl").rename(tmp_path / "train-1.jsonl")
    assert "conversations_reading" not in conversations_inputs(data_config(tmp_path))
