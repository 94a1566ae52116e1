"""Lists whose repeats are drawn again: none repeats, and what is kept is what the model says."""

from __future__ import annotations

import pytest
import torch

from convrec.models.generation.distinct import TRIES, DistinctLines, line_key
from convrec.models.generation.loop import GeneratedList, write_lists
from convrec.models.generation.multinomial import uniforms
from convrec.models.generation.samplers import Sampler
from convrec.models.load import Student
from convrec.models.prompts import encode_prompt
from convrec.models.tokens import newline_counts
from convrec.titles.line_format import TITLE_YEAR

N, MOST, SAMPLES = 4, 24, 24
PROMPTS = ("Heat", "Up (2009) please")


@pytest.fixture
def repeater(student: Student) -> Student:
    """A random model that likes newlines so much that most of its lines are short and repeat."""
    newline = student.tokenizer("\n")["input_ids"][0]
    with torch.no_grad():
        weights = student.model.model.embed_tokens.weight
        weights[newline] = 8 * weights[100]
        weights[:90] *= 0.2
    return student


def write(
    student: Student, name: str, samples: int = SAMPLES
) -> tuple[list[GeneratedList], object]:
    prompts = [encode_prompt(student.tokenizer, text, 64) for text in PROMPTS]
    rule = Sampler(name, student.tokenizer, N, MOST).rule([])  # type: ignore[arg-type]
    draws = uniforms(len(prompts) * SAMPLES, MOST, 3)
    draws = draws.view(len(prompts), SAMPLES, MOST)[:, :samples].reshape(-1, MOST)
    return write_lists(*student, prompts, rule, draws=draws, samples=samples), rule


def lines_of(student: Student, one: GeneratedList) -> list[str]:
    text = student.tokenizer.decode([i for i in one.ids if i != student.tokenizer.eos_token_id])
    return [line.strip() for line in text.split("\n")[:N]]


def repeats(student: Student, lists: list[GeneratedList]) -> int:
    found = [lines_of(student, one)[: one.ids.count(newline_id(student))] for one in lists]
    return sum(len(lines) - len(set(lines)) for lines in found)


def newline_id(student: Student) -> int:
    return int(student.tokenizer("\n")["input_ids"][0])


def test_repeated_lines_are_drawn_again_until_tries_run_out(repeater: Student) -> None:
    plain, _ = write(repeater, "lines")
    distinct, rule = write(repeater, "distinct")
    assert repeats(repeater, plain) > 20
    assert isinstance(rule, DistinctLines)
    assert rule.redrawn > 0
    assert repeats(repeater, distinct) < 0.5 * repeats(repeater, plain)


@pytest.mark.parametrize("samples", [1, SAMPLES])
def test_what_is_kept_has_the_probabilities_of_a_model_that_never_said_the_rest(
    repeater: Student, samples: int
) -> None:
    """With one list a prompt the cache is not shared, with more it is: both take lines back."""
    written, rule = write(repeater, "distinct", samples)
    assert isinstance(rule, DistinctLines)
    assert rule.redrawn > 0
    for place, one in enumerate(written):
        prompt = encode_prompt(repeater.tokenizer, PROMPTS[place // samples], 64)
        with torch.no_grad():
            logits = repeater.model(torch.tensor([prompt + one.ids])).logits[0, len(prompt) - 1 :]
        logps = logits.log_softmax(-1)[torch.arange(len(one.ids)), one.ids].tolist()
        chosen = sum(one.chosen)
        assert one.logps[:chosen] == pytest.approx(logps[:chosen], abs=2e-3)


def test_lines_come_as_if_drawn_without_replacement() -> None:
    """Lines b, c and d with shares .5, .3 and .2 at every rank: no context, so tails are exact."""
    lists, letters = 4000, torch.tensor([0.0, 0.0, 0.5, 0.3, 0.2])
    rule = DistinctLines(0, 2, torch.tensor([0, 1, 0, 0, 0]), lambda ids: ids)
    rule.start(lists, torch.device("cpu"))
    generator, rows = torch.Generator().manual_seed(5), torch.arange(lists)
    newline = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
    written = []
    for shares in (letters, newline, letters):
        draws = torch.rand(lists, generator=generator)
        written.append(rule.choose(shares.log().repeat(lists, 1), 1.0, draws, rows).tokens[:, 0])
    assert rule.redrawn == 0
    first, second = written[0], written[2]
    for a in (2, 3, 4):
        for b in (2, 3, 4):
            share = float(((first == a) & (second == b)).float().mean())
            expected = 0.0 if a == b else float(letters[a] * letters[b] / (1 - letters[a]))
            assert share == pytest.approx(expected, abs=0.025)


def test_a_shared_beginning_is_not_held_against_another_line() -> None:
    """After "2 3", token 2 keeps the share of "2 4"; and "2" alone can hardly go on to 3."""
    rule = DistinctLines(0, 9, torch.tensor([0, 1, 0, 0, 0, 0]), lambda ids: ids)
    rule.start(1, torch.device("cpu"))
    row, draw = torch.tensor([0]), torch.tensor([0.999])
    start = torch.tensor([[0.0, 0.0, 0.4, 0.0, 0.0, 0.6]])
    then = torch.tensor([[0.0, 0.0, 0.0, 0.75, 0.25, 0.0]])
    newline = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    taken = [float(d) for d in (0.1, 0.1, 0.5)]
    for shares, at in zip((start, then, newline), taken, strict=True):
        rule.choose(shares.log(), 1.0, torch.tensor([at]), row)
    left = rule._unsaid(start, row)[0]
    assert left[2] == pytest.approx(0.4 * 0.25)
    assert left[5] == pytest.approx(0.6)
    rule.choose(start.log(), 1.0, torch.tensor([0.05]), row)
    assert rule._unsaid(then, row)[0].tolist() == pytest.approx([0, 0, 0, 0, 0.25, 0])
    assert rule.choose(then.log(), 1.0, draw, row).tokens.item() == 4


def test_a_list_does_not_depend_on_those_beside_it(repeater: Student) -> None:
    many, _ = write(repeater, "distinct")
    few, _ = write(repeater, "distinct", samples=2)
    assert [one.ids for one in few] == [
        one.ids for prompt in range(2) for one in many[prompt * SAMPLES : prompt * SAMPLES + 2]
    ]


def test_a_repeat_stands_after_all_tries_and_a_greedy_one_at_once() -> None:
    for temperature, draws in ((1.0, TRIES), (0.0, 1)):
        rule = DistinctLines(0, 2, torch.tensor([0, 1]), lambda ids: ids)
        rule.start(1, torch.device("cpu"))
        logits = torch.tensor([[0.0, 50.0]])  # token 1 is a newline
        ended, steps = False, 0
        while not ended:
            choice = rule.choose(logits, temperature, torch.tensor([0.5]), torch.tensor([0]))
            ended, steps = bool(choice.ended[0]), steps + 1
        assert steps == 1 + draws


def test_an_end_of_its_own_closes_a_line_too() -> None:
    """Line 2 repeats line 1 and ends by EOS: it is taken back whole, EOS included."""
    rule = DistinctLines(0, 2, torch.tensor([0, 1, 0]), lambda ids: ids[:1])
    rule.start(1, torch.device("cpu"))
    row, draw = torch.tensor([0]), torch.tensor([0.5])
    backs = []
    for token in (2, 1, 2, 0):
        logits = torch.full((1, 3), -50.0)
        logits[0, token] = 50.0
        choice = rule.choose(logits, 1.0, draw, row)
        backs.append(0 if choice.back is None else int(choice.back[0]))
    assert backs == [0, 0, 0, 2]
    assert not choice.ended[0]


def test_lines_say_the_same_by_title_and_year(student: Student) -> None:
    key = line_key(student.tokenizer, TITLE_YEAR)

    def of(text: str) -> object:
        return key(tuple(student.tokenizer(text)["input_ids"]))

    assert of("Heat (1995)\n") == of("heat (1995)")
    assert of("Heat (1995)\n") != of("Heat (1986)\n")
    assert of("no year\n") == of("no year")
    assert newline_counts(student.tokenizer, len(student.tokenizer)).sum() >= 1
