"""How the time of every parser of outside text grows: n and 4 n characters of hostile text.

    python -m benchmarks.fuzz_parsers [--size 16000] [--seconds 5]

Each parser reads texts that repeat one piece between a start and an end that prevent a match, which
is where a regular expression may backtrack. Linear time grows 4 times, quadratic 16 times. A call
that takes longer than `--seconds` is stopped and counts as endless. Prints the worst text of each
parser; exits with 1 if one grows by more than MOST and takes longer than NOTICED. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import polars as pl

from convrec.catalog.years import parse_year
from convrec.demo.completion import complete
from convrec.errors import ConvrecError
from convrec.llm.answer import read_answer
from convrec.llm.outcome import error_failure
from convrec.llm.rate_limit import parse_duration
from convrec.llm.response_body import parse_response
from convrec.metrics.protocols.reference import parse_list
from convrec.stages.ingest.dialogues import parse_dbpedia_name, strip_last_speaker
from convrec.stages.reflect.prompt import sanitize
from convrec.stages.reflect.ratings import read_ratings
from convrec.titles.line_format import line_format, parse_chat_list, parse_line
from convrec.titles.linker import Linker
from convrec.titles.named_items import named_items
from convrec.titles.normalize import clean_text, exact_key, plain_words, split_bare_year
from convrec.titles.parse import move_article_to_front, parse_title
from convrec.titles.remarks import read_remark
from convrec.utils import markdown

MOST = 8.0
"""Allowed growth for four times the text: linear is 4, n log n slightly more, quadratic 16."""

NOTICED = 0.05
"""Seconds below which the growth of one call is noise."""

ROUNDS = 3
"""Repetitions for a text that may be the worst; the fastest counts."""

ITEMS = [("a", "Alien", 1979), ("h", "Heat", 1995), ("s", "Se7en", None)]

PIECES = [
    " ", "\n", "\t", "\u00a0", "\u200f", "\u0301", "\0", "a", "1", "1.", "-", "*", "**", "_", "#",
    '"', "'", "`", ",", ", ", ", and ", ": ", " - ", ".", ". A", "?", "(", ")", "((", "()", "( ",
    "[", "[]", "<", "< ", "</", "<conversation>", "{", "}", "[[", '{"a":', "[1,", '"a",', " or ",
    " or: ", " / ", " aka ", "a.k.a. ", "like ", " (1995)", "(1995) ", " 1995", "1995-", "Alien ",
    "Alien, The, ", "how about ", "System: ", "1. a\n", "\n\n1. ", " \n", "x" * 40 + " ",
    "<think>", "</think>", "<think></think>", "[THINK]", "<|channel|>", "<|end|>", "</s>", "```\n",
    '{"candidate": 1, "rating": ', "[[1,2],", "// ", "/*", "'", "',", "\\",
]  # fmt: skip
AROUND = [
    ("", ""),
    ("a", "a"),
    ("Alien", "x"),
    ("<", ""),
    ("1.", ""),
    ("(", ""),
    ('{"ratings":', ""),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=16_000, help="characters of the shorter text")
    parser.add_argument("--seconds", type=float, default=5.0, help="limit of one call")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    rows = [_worst(name, parse, options.size, options.seconds) for name, parse in parsers().items()]
    for row in sorted(rows, key=lambda row: -row["seconds"]):
        print(f"{row['parser']:<20} {row['seconds']:>8.3f} s  ×{row['growth']:<6} {row['text']!r}")
    print(json.dumps({"size": 4 * options.size, "parsers": rows}))
    sys.exit(any(row["growth"] > MOST and row["seconds"] > NOTICED for row in rows))


def parsers() -> dict[str, Callable[[str], Any]]:
    """All parsers of outside text, by name; a ValueError is a valid result."""
    frame = pl.DataFrame(
        [
            {"item_id": i, "title": t, "year": y, "aliases": [], "genres": [], "text": ""}
            for i, t, y in ITEMS
        ],
        infer_schema_length=None,
    )
    linker = Linker(frame)
    dated = line_format("{year}: {title}")
    return {
        "parse_line": parse_line,
        "parse_line, dated": dated.parse,
        "parse_chat_list": parse_chat_list,
        "clean_text": clean_text,
        "parse_title": parse_title,
        "read_remark": read_remark,
        "move_article_to_front": move_article_to_front,
        "split_bare_year": split_bare_year,
        "plain_words": plain_words,
        "exact_key": exact_key,
        "parse_year": parse_year,
        "link": lambda text: linker.link(text),
        "reference.parse_list": parse_list,
        "named_items": lambda text: named_items(text, ITEMS),
        "parse_dbpedia_name": parse_dbpedia_name,
        "last speaker": strip_last_speaker,
        "judge.quoted": lambda text: sanitize(text, 6000),
        "read_answer": lambda text: read_answer({"choices": [{"message": {"content": text}}]}),
        "read_ratings": lambda text: read_ratings(text, 3, 2),
        "parse_response": lambda text: parse_response(text, {"messages": []}),
        "refusal": lambda text: error_failure("u", "sk-secret1", 400, {"message": text}, {}),
        "parse_duration": parse_duration,
        "markdown.escape": markdown.escape,
        "markdown.code_block": markdown.code_block,
        "mermaid_label": markdown.mermaid_label,
        "demo teacher": lambda text: complete(_asked("demo-teacher", text)),
        "demo judge": lambda text: complete(_asked("demo-judge", text)),
    }


def _asked(model: str, text: str) -> dict[str, Any]:
    shown = f"<conversation>\n{text}\n</conversation>\n<candidates>\n1. {text}\n</candidates>"
    rating = {"properties": {"rating": {"maximum": 2}}}
    schema = {"schema": {"properties": {"ratings": {"items": rating}}}}
    form = {"type": "json_schema", "json_schema": schema}
    return {"model": model, "messages": [{"content": shown}], "response_format": form}


def _worst(name: str, parse: Callable[[str], Any], size: int, patience: float) -> dict[str, Any]:
    """The slowest text, its seconds, and the growth from n to 4 n."""
    worst: dict[str, Any] = {"parser": name, "seconds": 0.0, "growth": 0.0, "text": ""}
    for piece in PIECES:
        for before, after in AROUND:
            hostile = (f"{before}{piece * (n // len(piece))}{after}" for n in (size, 4 * size))
            texts = list(hostile)
            if _seconds(parse, texts[1], patience) <= worst["seconds"]:
                continue
            short, long = (min(_seconds(parse, t, patience) for _ in range(ROUNDS)) for t in texts)
            if long > worst["seconds"]:
                growth = round(long / max(short, 1e-6), 1)
                text = f"{before}{piece}…{after}"
                worst |= {"seconds": round(long, 4), "growth": growth, "text": text}
    return worst


def _seconds(parse: Callable[[str], Any], text: str, patience: float) -> float:
    signal.setitimer(signal.ITIMER_REAL, patience)
    start = time.process_time()
    try:
        parse(text)
    except (ValueError, ConvrecError):
        pass
    except TimeoutError:
        return patience
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return time.process_time() - start


def _too_long(number: int, frame: Any) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main()
