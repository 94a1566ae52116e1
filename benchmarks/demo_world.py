"""How hard the demo world is: popularity, the teacher and an oracle, by the standard protocol.

    python benchmarks/demo_world.py [--seed 7] [--train 2000] [--validation 200] [--test 200]

Prints a table and, as the last line, the same as JSON. The world is tuned to popularity .10-.14,
teacher .30-.36, oracle .70-.80 (NDCG@20 on test), so that a model of a million parameters can learn
something in minutes and Rank-GRPO can add to it. The simulated teacher and judge are asked in
process, with the pipeline's own prompts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from convrec.config import Config
from convrec.demo import complete
from convrec.demo.post_parser import find_work
from convrec.demo.posts import generate_rows
from convrec.demo.world import Work, load_world
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ranking_metrics
from convrec.metrics.scored_lists import ListToScore
from convrec.stages.recommend.step import teacher_messages
from convrec.stages.reflect.parse import read_ratings
from convrec.stages.reflect.prompt import judge_body
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import TitleYear, format_line, parse_chat_list

N = 20
SETTINGS = Config.model_validate(
    {"recommend": {"model": "demo-teacher"}, "reflect": {"model": "demo-judge"}}
)
Row = dict[str, Any]


def main() -> None:
    options = _options()
    sizes = {split: getattr(options, split) for split in ("train", "validation", "test")}
    rows = [row for row in generate_rows(options.seed, sizes) if _usable(row)]
    splits: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        splits[row["sample_id"].split("_")[1]].append(row)
    test = splits["test"]
    started = time.perf_counter()
    answers = {text: teacher_items(text) for text in dict.fromkeys(map(_text, test))}
    teacher_seconds = time.perf_counter() - started
    started = time.perf_counter()
    agreement = judge_agreement(test)
    judge_seconds = time.perf_counter() - started
    crowd = Counter(
        title for row in splits["train"] for title, _ in row["groundtruth_with_release_year"]
    )
    systems: dict[str, Callable[[Row], list[str]]] = {
        "popularity": lambda row: _ranked(load_world().works, crowd, row),
        "teacher, raw": lambda row: [format_line(*item) for item in answers[_text(row)]],
        "teacher, resolved": lambda row: _resolved(answers[_text(row)]),
        "oracle": lambda row: _ranked(load_world().of_taste(_taste(row)), crowd, row),
    }
    index = TitleIndex(
        (film.title, film.title, film.year) for film in load_world().works if film.crowd
    )
    figures: dict[str, Any] = {
        name: {metric: round(value, 4) for metric, value in _score(test, make, index).items()}
        for name, make in systems.items()
    }
    figures["world"] = {
        "samples": len(rows),
        "words a post": round(float(np.mean([len(_text(row).split()) for row in rows])), 1),
        "outside the catalog": round(_outside(answers.values()), 4),
        "teacher answers a second": round(len(answers) / teacher_seconds),
        "judge answers a second": round(len(test) / judge_seconds),
        "judge, taste minus rest": round(agreement, 3),
    }
    for name, found in figures.items():
        print(f"{name:18}", "  ".join(f"{key} {value}" for key, value in found.items()))
    print(json.dumps(figures))


def teacher_items(text: str) -> list[TitleYear]:
    body = {"model": "demo-teacher", "messages": teacher_messages(text, SETTINGS)}
    content = complete(body)["choices"][0]["message"]["content"]
    return [item for _, item in parse_chat_list(content)][:N]


def judge_agreement(rows: list[Row]) -> float:
    """How much higher the judge rates films of the poster's taste than others, out of 2 × L."""
    ratings: dict[bool, list[int]] = {True: [], False: []}
    for row in rows:
        films = [film for film in (find_work(*x) for x in teacher_items(_text(row))) if film]
        lines = [format_line(film.title, film.year) for film in films]
        body = judge_body(_text(row), lines, SETTINGS)
        content = complete(body)["choices"][0]["message"]["content"]
        try:
            found = read_ratings(content, len(lines), SETTINGS.reflect.scale)
        except ValueError:
            continue
        for place, rating in found.items():
            ratings[films[place].taste == _taste(row)].append(rating)
    return float(np.mean(ratings[True]) - np.mean(ratings[False]))


def _score(
    rows: list[Row], make: Callable[[Row], list[str]], index: TitleIndex
) -> dict[str, float]:
    lists = [
        ListToScore(
            "\n".join(make(row)),
            [(title, None) for title in row["seen_titles"]],
            [(title, int(year)) for title, year in row["groundtruth_with_release_year"]],
        )
        for row in rows
    ]
    values = ranking_metrics(match_standard(lists, index))
    return {name: float(values[name].mean()) for name in ("ndcg@5", "ndcg@20", "recall@20")}


def _ranked(films: tuple[Work, ...], crowd: Counter[str], row: Row) -> list[str]:
    unseen = [film for film in films if film.crowd and film.title not in row["seen_titles"]]
    best = sorted(unseen, key=lambda film: -crowd[film.title])[:N]
    return [format_line(film.title, film.year) for film in best]


def _resolved(items: list[TitleYear]) -> list[str]:
    """Correct aliases and years; drop repeats and items outside the catalog."""
    films = dict.fromkeys(find_work(*item) for item in items)
    return [format_line(film.title, film.year) for film in films if film and film.crowd]


def _outside(answers: Any) -> float:
    films = [find_work(*item) for items in answers for item in items]
    return sum(film is None or not film.crowd for film in films) / len(films)


def _taste(row: Row) -> str:
    """The poster's taste: that of most films in the answer."""
    films = (find_work(t, int(y)) for t, y in row["groundtruth_with_release_year"])
    return Counter(film.taste for film in films if film).most_common(1)[0][0]


def _text(row: Row) -> str:
    return str(row["prompt"][0]["content"])


def _usable(row: Any) -> bool:
    return isinstance(row, dict) and not row["sample_id"].startswith("demo_broken")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=7, help="seed of the posts")
    for split, size in (("train", 2000), ("validation", 200), ("test", 200)):
        parser.add_argument(f"--{split}", type=int, default=size, help=f"posts in {split}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
