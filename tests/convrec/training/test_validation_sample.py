"""A validation sample has one row of each of some contexts, drawn by a seed."""

from collections import Counter
from operator import itemgetter

from convrec.training.validation_sample import sample_contexts

ROWS = [
    {"context_id": f"post {context}", "sample_id": f"{context}/{sample}"}
    for context in range(40)
    for sample in range(1 + context % 3)
]


def test_each_context_has_one_row():
    drawn = sample_contexts(ROWS, 10, seed=1)
    assert len({row["context_id"] for row in drawn}) == len(drawn) == 10
    assert all(row in ROWS for row in drawn)
    assert drawn == sorted(drawn, key=ROWS.index)


def test_seed_decides_which_rows_are_drawn():
    assert sample_contexts(ROWS, 10, seed=1) == sample_contexts(ROWS, 10, seed=1)
    assert sample_contexts(ROWS, 10, seed=1) != sample_contexts(ROWS, 10, seed=2)


def test_fewer_contexts_than_asked_for_are_all_drawn():
    assert len(sample_contexts(ROWS, 1000, seed=1)) == 40
    assert sample_contexts([], 10, seed=1) == []


def test_contexts_with_many_samples_are_no_likelier():
    draws = [row for seed in range(600) for row in sample_contexts(ROWS, 10, seed=seed)]
    samples = Counter(int(row["context_id"].split()[1]) % 3 for row in draws)
    expected = {0: 14 / 40, 1: 13 / 40, 2: 13 / 40}
    assert all(abs(samples[kind] / len(draws) - share) < 0.03 for kind, share in expected.items())
    last = Counter(row["sample_id"] for row in draws if row["context_id"] == "post 2")
    assert len(last) == 3


def test_prompts_can_name_the_context():
    pairs = [("one", "Heat"), ("one", "Ronin"), ("two", "Up")]
    drawn = sample_contexts(pairs, 9, 0, context_of=itemgetter(0))
    assert [prompt for prompt, _ in drawn] == ["one", "two"]
