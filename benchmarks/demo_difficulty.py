"""How hard the demo is: baselines, a reader of constraints, an oracle, the models.

    python benchmarks/demo_difficulty.py [--world films] [--split validation] [--seed 7]

Prints NDCG@20 by the standard protocol, of all posts and of each kind, and as the last line the
same as JSON. The systems:

popularity     what training answers name most often
neighbours     the kNN baseline of the pipeline
bag of words   ridge regression from word counts to training answers
reader         works that meet what the post states, the most often named first
oracle         works that meet what its author wants, in the order of their true weights
teacher        the simulated teacher's list, raw and with alternative titles and years resolved

Freeze rule: the worlds, the teacher and the judge are tuned by the figures of validation alone and
then frozen; `--split test` is for frozen ones. A later change of them starts with validation again.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from convrec.artifacts import Store
from convrec.catalog.load import load_configured_catalog
from convrec.catalog.selection import bundled_catalog
from convrec.config import Config, load
from convrec.demo import complete
from convrec.demo.posts import Post, allowed_works, generate_samples, work_weight
from convrec.demo.reader import find_work, read_post
from convrec.demo.world import WORLDS, Work, World, load_world
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ranking_metrics
from convrec.metrics.relevance import TitleAndYear
from convrec.metrics.scored_lists import ListToScore
from convrec.stages.base import StepContext
from convrec.stages.evaluate.baselines import TrainingData, choose_k, knn, popularity, read_training
from convrec.stages.evaluate.samples import Sample, held_out_samples
from convrec.stages.ingest.read import read_conversations
from convrec.stages.recommend.step import teacher_messages
from convrec.stages.reflect.prompt import judge_body
from convrec.stages.reflect.ratings import read_ratings
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import TitleYear, format_line, parse_chat_list

N = 20
ALPHAS = (1.0, 3.0, 10.0, 30.0)
"""Regularization of the bag of words, chosen on validation."""
PROFILES = {"films": "demo", "books": "demo-books"}

Lists = Sequence[Sequence[TitleAndYear]]


class Data(NamedTuple):
    """A world and its samples; `posts` are the posts of the samples to score."""

    config: Config
    world: World
    training: TrainingData
    validation: list[Sample]
    samples: list[Sample]
    posts: list[Post]


def main() -> None:
    options = _options()
    data = _read(options)
    counts = data.training.mentions
    named = {TitleYear(*item): counts[row] for row, item in enumerate(data.training.items)}
    answers = [teacher_items(sample, data.config) for sample in data.samples]
    k = choose_k(data.training, data.validation)
    systems: dict[str, Lists] = {
        "popularity": popularity(data.training, data.samples, N),
        f"neighbours, {k}": knn(data.training, data.samples, N, k),
        "bag of words": bag_of_words(data),
        "reader": _by_score(data, lambda post: _reader_score(post, data.world, named)),
        "oracle": _by_score(data, _oracle_score),
        "teacher, raw": answers,
        "teacher, resolved": [_resolved(items, data.world) for items in answers],
    }
    figures: dict[str, Any] = {name: _score(data, lists) for name, lists in systems.items()}
    figures["judge, fit minus rest"] = {"rating": judge_agreement(data, answers)}
    sizes = [len(allowed_works(data.world, post.wish, post.named)) for post in data.posts]
    figures["works that a post allows"] = {"mean": round(float(np.mean(sizes)), 1)}
    for name, found in figures.items():
        print(f"{name:24}", "  ".join(f"{key} {value}" for key, value in found.items()))
    print(json.dumps(figures))


def _read(options: argparse.Namespace) -> Data:
    sizes = {split: getattr(options, split) for split in ("train", "validation", "test")}
    ingest = {"world": options.world, "catalog": "", "contexts": sizes}
    overrides = {f"ingest.{key}": value for key, value in ingest.items()}
    config = load(PROFILES[options.world], {"seed": options.seed, **overrides})
    conversations = pl.DataFrame(read_conversations(config)[0])
    file = bundled_catalog(config)
    assert file is not None
    frames = {"conversations": conversations, "catalog": load_configured_catalog(file, config)[0]}
    training = read_training(StepContext(config, cast(Store, None), frames=frames))
    assert training is not None
    samples = held_out_samples(conversations, options.scored)
    posts = {
        row["sample_id"]: post for post, row in generate_samples(options.seed, sizes, options.world)
    }
    return Data(
        config=config,
        world=load_world(options.world),
        training=training,
        validation=held_out_samples(conversations, "validation"),
        samples=samples,
        posts=[posts[sample.sample_id] for sample in samples],
    )


def bag_of_words(data: Data) -> Lists:
    """Lists by ridge regression from word counts; its regularization is chosen on validation."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import Ridge

    words = CountVectorizer()
    inputs = words.fit_transform(data.training.texts)
    answers = data.training.answer_counts.toarray()

    def lists(alpha: float, samples: list[Sample]) -> Lists:
        model = Ridge(alpha=alpha).fit(inputs, answers)
        scores = model.predict(words.transform([sample.conversation for sample in samples]))
        return [
            data.training.top_unseen(np.argsort(-row, kind="stable"), sample, N)
            for sample, row in zip(samples, scores, strict=True)
        ]

    validation = data._replace(samples=data.validation, posts=[])
    best = max(ALPHAS, key=lambda alpha: _ndcg(validation, lists(alpha, data.validation)).mean())
    return lists(best, data.samples)


def _reader_score(
    post: Post, world: World, named: dict[TitleYear, float]
) -> Callable[[Work], float]:
    guesses = read_post(post.text, world).guesses()

    def score(work: Work) -> float:
        count = named.get(TitleYear(work.title, work.year), 0.0)
        fit = sum(wish.allows(work) * wish.preference(work) for wish in guesses)
        return float((fit + 1e-4) * (count + 1))

    return score


def _oracle_score(post: Post) -> Callable[[Work], float]:
    return lambda work: (post.wish.allows(work) + 1e-6) * work_weight(post.wish, work)


def _by_score(data: Data, scorer: Callable[[Post], Callable[[Work], float]]) -> Lists:
    lists = []
    for post in data.posts:
        unseen = [work for work in data.world.catalog if work not in post.named]
        best = sorted(unseen, key=scorer(post), reverse=True)[:N]
        lists.append([TitleYear(work.title, work.year) for work in best])
    return lists


def teacher_items(sample: Sample, config: Config) -> list[TitleYear]:
    messages = teacher_messages(sample.conversation, config)
    content = complete({"model": "demo-teacher", "messages": messages})
    text = content["choices"][0]["message"]["content"]
    return [item for _, item in parse_chat_list(text)][:N]


def judge_agreement(data: Data, answers: Lists) -> float:
    """How much higher the judge rates works that the author wants than others, out of 2 × L."""
    ratings: dict[bool, list[int]] = {True: [], False: []}
    for sample, post, items in zip(data.samples, data.posts, answers, strict=True):
        works = [work for work in (find_work(*item, data.world) for item in items) if work]
        lines = [format_line(work.title, work.year) for work in works]
        content = complete(judge_body(sample.conversation, lines, data.config))
        text = content["choices"][0]["message"]["content"]
        try:
            found = read_ratings(text, len(lines), data.config.reflect.scale)
        except ValueError:
            continue
        for place, rating in found.items():
            ratings[post.wish.allows(works[place])].append(rating)
    return round(float(np.mean(ratings[True]) - np.mean(ratings[False])), 3)


def _resolved(items: Sequence[TitleAndYear], world: World) -> list[TitleAndYear]:
    """Correct aliases and years; drop repeats and items outside the catalog."""
    works = dict.fromkeys(find_work(*item, world) for item in items)
    return [TitleYear(work.title, work.year) for work in works if work and work.crowd]


def _score(data: Data, lists: Lists) -> dict[str, float]:
    values = _ndcg(data, lists)
    by_kind: dict[str, list[float]] = defaultdict(list)
    for post, value in zip(data.posts, values, strict=True):
        by_kind[post.kind].append(float(value))
    means = {kind: round(float(np.mean(found)), 4) for kind, found in sorted(by_kind.items())}
    return {"all": round(float(values.mean()), 4), **means}


def _ndcg(data: Data, lists: Lists) -> np.ndarray:
    scored = [
        ListToScore("\n".join(format_line(*i) for i in items), sample.seen, sample.ground_truth)
        for sample, items in zip(data.samples, lists, strict=True)
    ]
    index = TitleIndex((title, title, year) for title, year in data.training.items)
    return np.asarray(ranking_metrics(match_standard(scored, index))["ndcg@20"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--world", default=WORLDS[0], choices=WORLDS)
    parser.add_argument("--split", dest="scored", default="validation", help="split to score")
    parser.add_argument("--seed", type=int, default=7, help="seed of the posts")
    for split, size in (("train", 2000), ("validation", 200), ("test", 200)):
        parser.add_argument(f"--{split}", type=int, default=size, help=f"posts in {split}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
