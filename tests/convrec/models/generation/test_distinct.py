"""Repeated lines are drawn again, and accepted lines have the model's log-probabilities."""

from __future__ import annotations

import pytest
import torch

from convrec.models.generation.distinct import MAX_DRAWS, DistinctLines, line_key
from convrec.models.generation.loop import GeneratedList, generate_lists
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.generation.samplers import Sampler
from convrec.models.generation.without_catalog import count_newlines
from convrec.models.load import Student
from convrec.models.prompts import encode_prompt
from convrec.titles.line_format import DEFAULT_FORMAT

N, MAX_TOKENS, SAMPLES = 4, 24, 24
PROMPTS = ("Heat", "Up (2009) please")


@pytest.fixture
def repetitive_student(student: Student) -> Student:
    """A random model that likes newlines so much that most of its lines are short and repeat."""
    newline = student.tokenizer("\n")["input_ids"][0]
    with torch.no_grad():
        weights = student.model.model.embed_tokens.weight
        weights[newline] = 8 * weights[100]
        weights[:90] *= 0.2
    return student


def generate(
    student: Student, name: str, samples: int = SAMPLES
) -> tuple[list[GeneratedList], object]:
    prompts = [encode_prompt(student.tokenizer, text, 64) for text in PROMPTS]
    constraint = Sampler(name, student.tokenizer, N, MAX_TOKENS).constraint([])  # type: ignore[arg-type]
    draws = uniform_draws(len(prompts) * SAMPLES, MAX_TOKENS, 3)
    draws = draws.view(len(prompts), SAMPLES, MAX_TOKENS)[:, :samples].reshape(-1, MAX_TOKENS)
    return generate_lists(*student, prompts, constraint, draws=draws, samples=samples), constraint


def lines_of(student: Student, one: GeneratedList) -> list[str]:
    text = student.tokenizer.decode([i for i in one.ids if i != student.tokenizer.eos_token_id])
    return [line.strip() for line in text.split("\n")[:N]]


def repeats(student: Student, lists: list[GeneratedList]) -> int:
    found = [lines_of(student, one)[: one.ids.count(newline_id(student))] for one in lists]
    return sum(len(lines) - len(set(lines)) for lines in found)


def newline_id(student: Student) -> int:
    return int(student.tokenizer("\n")["input_ids"][0])


def test_repeated_lines_are_drawn_again(repetitive_student: Student) -> None:
    plain, _ = generate(repetitive_student, "lines")
    distinct, constraint = generate(repetitive_student, "distinct")
    assert repeats(repetitive_student, plain) > 20
    assert isinstance(constraint, DistinctLines)
    assert constraint.redrawn > 0
    assert repeats(repetitive_student, distinct) < 0.5 * repeats(repetitive_student, plain)


@pytest.mark.parametrize("samples", [1, SAMPLES])
def test_log_probabilities_ignore_discarded_lines(
    repetitive_student: Student, samples: int
) -> None:
    """The cache is not shared with one list per prompt, and shared with more; both roll back."""
    generated, constraint = generate(repetitive_student, "distinct", samples)
    assert isinstance(constraint, DistinctLines)
    assert constraint.redrawn > 0
    model, tokenizer = repetitive_student
    for place, one in enumerate(generated):
        prompt = encode_prompt(tokenizer, PROMPTS[place // samples], 64)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + one.ids])).logits[0, len(prompt) - 1 :]
        logps = logits.log_softmax(-1)[torch.arange(len(one.ids)), one.ids].tolist()
        chosen = sum(one.chosen)
        assert one.logps[:chosen] == pytest.approx(logps[:chosen], abs=2e-3)


def test_lines_come_as_if_drawn_without_replacement() -> None:
    """Lines b, c and d with shares .5, .3 and .2 at every rank: no context, so tails are exact."""
    lists, letters = 4000, torch.tensor([0.0, 0.0, 0.5, 0.3, 0.2])
    constraint = DistinctLines(0, 2, torch.tensor([0, 1, 0, 0, 0]), lambda ids: ids)
    constraint.reset(lists, torch.device("cpu"))
    generator, rows = torch.Generator().manual_seed(5), torch.arange(lists)
    newline = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
    generated = []
    for shares in (letters, newline, letters):
        draws = torch.rand(lists, generator=generator)
        logits = shares.log().repeat(lists, 1)
        generated.append(constraint.choose_tokens(logits, 1.0, draws, rows).tokens[:, 0])
    assert constraint.redrawn == 0
    first, second = generated[0], generated[2]
    for a in (2, 3, 4):
        for b in (2, 3, 4):
            share = float(((first == a) & (second == b)).float().mean())
            expected = 0.0 if a == b else float(letters[a] * letters[b] / (1 - letters[a]))
            assert share == pytest.approx(expected, abs=0.025)


def test_a_common_prefix_does_not_exclude_another_line() -> None:
    """After "2 3", token 2 keeps the probability of "2 4", and "2" hardly continues to 3."""
    constraint = DistinctLines(0, 9, torch.tensor([0, 1, 0, 0, 0, 0]), lambda ids: ids)
    constraint.reset(1, torch.device("cpu"))
    row, draw = torch.tensor([0]), torch.tensor([0.999])
    start = torch.tensor([[0.0, 0.0, 0.4, 0.0, 0.0, 0.6]])
    then = torch.tensor([[0.0, 0.0, 0.0, 0.75, 0.25, 0.0]])
    newline = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    for shares, at in zip((start, then, newline), (0.1, 0.1, 0.5), strict=True):
        constraint.choose_tokens(shares.log(), 1.0, torch.tensor([at]), row)
    left = constraint._without_repeats(start, row)[0]
    assert left[2] == pytest.approx(0.4 * 0.25)
    assert left[5] == pytest.approx(0.6)
    constraint.choose_tokens(start.log(), 1.0, torch.tensor([0.05]), row)
    assert constraint._without_repeats(then, row)[0].tolist() == pytest.approx(
        [0, 0, 0, 0, 0.25, 0]
    )
    assert constraint.choose_tokens(then.log(), 1.0, draw, row).tokens.item() == 4


def test_a_list_does_not_depend_on_its_batch(repetitive_student: Student) -> None:
    many, _ = generate(repetitive_student, "distinct")
    few, _ = generate(repetitive_student, "distinct", samples=2)
    assert [one.ids for one in few] == [
        one.ids for prompt in range(2) for one in many[prompt * SAMPLES : prompt * SAMPLES + 2]
    ]


def test_a_repeat_is_kept_after_all_draws_or_if_greedy() -> None:
    for temperature, draws in ((1.0, MAX_DRAWS), (0.0, 1)):
        constraint = DistinctLines(0, 2, torch.tensor([0, 1]), lambda ids: ids)
        constraint.reset(1, torch.device("cpu"))
        logits = torch.tensor([[0.0, 50.0]])  # token 1 is a newline
        ended, steps = False, 0
        while not ended:
            choice = constraint.choose_tokens(
                logits, temperature, torch.tensor([0.5]), torch.tensor([0])
            )
            ended, steps = bool(choice.ended[0]), steps + 1
        assert steps == 1 + draws


def test_eos_closes_a_line_too() -> None:
    """Line 2 repeats line 1 and ends with EOS: all of it is rolled back, including EOS."""
    constraint = DistinctLines(0, 2, torch.tensor([0, 1, 0]), lambda ids: ids[:1])
    constraint.reset(1, torch.device("cpu"))
    row, draw = torch.tensor([0]), torch.tensor([0.5])
    rollbacks = []
    for token in (2, 1, 2, 0):
        logits = torch.full((1, 3), -50.0)
        logits[0, token] = 50.0
        choice = constraint.choose_tokens(logits, 1.0, draw, row)
        rollbacks.append(0 if choice.rollback is None else int(choice.rollback[0]))
    assert rollbacks == [0, 0, 0, 2]
    assert not choice.ended[0]


def test_line_keys_are_title_and_year(student: Student) -> None:
    key = line_key(student.tokenizer, DEFAULT_FORMAT)

    def of(text: str) -> object:
        return key(tuple(student.tokenizer(text)["input_ids"]))

    assert of("Heat (1995)\n") == of("heat (1995)")
    assert of("Heat (1995)\n") != of("Heat (1986)\n")
    assert of("no year\n") == of("no year")
    assert count_newlines(student.tokenizer, len(student.tokenizer)).sum() >= 1
