"""Titles that are read from a folder of stored teacher answers, and how fast.

    python -m benchmarks.read_lists FOLDER [--show 20]

Reads every `*.batch_output.jsonl` below the folder. Prints, for each file: the answers, titles per
answer (at most 20 of each count, as in a pipeline), the share of answers without a title, the share
of titles with a year, and answers per second on one core.
`--show` prints the beginning of answers without a title. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from convrec.llm.answer import Answer, read_answer
from convrec.titles.line_format import parse_chat_list

LENGTH = 20
"""Items of a list that count."""


def answers_of(path: Path) -> list[Answer]:
    with path.open(encoding="utf-8") as lines:
        return [read_answer(json.loads(line)["response"]["body"]) for line in lines]


def measure(answers: list[Answer]) -> tuple[dict[str, Any], list[str]]:
    """The figures, and the texts without a title."""
    texts = [(answer.text or "", answer.is_cut) for answer in answers]
    start = time.process_time()
    lists = [parse_chat_list(text, is_cut=is_cut)[:LENGTH] for text, is_cut in texts]
    seconds = time.process_time() - start
    titles = [item for items in lists for _, item in items]
    figures = {
        "answers": len(lists),
        "titles per answer": round(len(titles) / len(lists), 2),
        "without a title": round(sum(not items for items in lists) / len(lists), 4),
        "with a year": round(sum(item.year is not None for item in titles) / len(titles), 3),
        "answers per second": round(len(lists) / seconds),
    }
    return figures, [text for (text, _), items in zip(texts, lists, strict=True) if not items]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", type=int, default=0, help="answers without a title to print")
    options = parser.parse_args()
    result = {}
    for path in sorted(options.folder.rglob("*.batch_output.jsonl")):
        figures, empty = measure(answers_of(path))
        result[path.name] = figures
        print(path.name, "  ".join(f"{name} {value}" for name, value in figures.items()))
        for text in empty[: options.show]:
            print("   ", repr(text[:200]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
