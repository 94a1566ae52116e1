"""Lists that end at N lines: what is kept, what is forced, and what is left to the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from convrec.config import Config
from convrec.models.generation.constraints import EndAtLines, Free
from convrec.models.generation.loop import DecodingConstraint, GeneratedList, write_lists
from convrec.models.generation.multinomial import uniforms
from convrec.models.generation.sample import sample_texts
from convrec.models.generation.samplers import Sampler
from convrec.models.load import Student
from convrec.models.prompts import encode_prompt

N = 3
SAMPLES = 48


@pytest.fixture
def liner(student: Student) -> Student:
    """A random model that likes newlines and, less, ends."""
    tokenizer = student.tokenizer
    newline = tokenizer("\n")["input_ids"][0]
    with torch.no_grad():
        weights = student.model.model.embed_tokens.weight
        weights[newline] = 3 * weights[100]
        weights[tokenizer.eos_token_id] = 2.5 * weights[101]
    return student


def write(student: Student, rule: DecodingConstraint, **options: Any) -> list[GeneratedList]:
    prompts = [encode_prompt(student.tokenizer, text, 64) for text in ("Heat", "Up (2009) please")]
    draws = uniforms(2 * SAMPLES, 24, 3)
    return write_lists(*student, prompts, rule, draws=draws, samples=SAMPLES, **options)


def newlines(student: Student, ids: list[int]) -> int:
    return int(student.tokenizer.decode(ids).count("\n"))


def test_a_list_ends_with_the_newline_of_line_n_and_a_forced_end(liner: Student) -> None:
    eos = liner.tokenizer.eos_token_id
    free = write(liner, Free(eos), temperature=2.0)
    ended = write(liner, Sampler("lines", liner.tokenizer, N, 24).rule([]), temperature=2.0)
    kinds = set()
    for one, other in zip(ended, free, strict=True):
        lines = newlines(liner, one.ids)
        forced = not one.chosen[-1]
        assert lines <= N
        assert forced == (lines == N)
        assert all(one.chosen[:-1])
        body = one.ids[:-1] if forced else one.ids
        assert body == other.ids[: len(body)]
        assert one.logps[: len(body)] == pytest.approx(other.logps[: len(body)], abs=1e-4)
        if forced:
            assert one.ids[-1] == eos
            assert one.logps[-1] == 0
            assert newlines(liner, one.ids[:-2]) == N - 1
        kinds.add((forced, one.ids[-1] == eos, lines))
    assert (True, True, N) in kinds  # ended by the rule
    assert any(not forced and end and lines < N - 1 for forced, end, lines in kinds)  # too early


def test_the_token_that_closes_line_n_stays_whatever_else_it_holds() -> None:
    """Token 5 stands for ")\\n" and token 6 for two newlines."""
    counts = torch.tensor([0, 0, 0, 0, 0, 1, 2])
    rule = EndAtLines(0, 2, counts)
    rule.start(3, torch.device("cpu"))
    rows = torch.arange(3)
    first = rule.choose(5.0 * torch.eye(7)[[5, 6, 1]], 0, torch.rand(3), rows)
    assert first.ended.tolist() == [False, True, False]
    second = rule.choose(5.0 * torch.eye(7)[[5, 0]], 0, torch.rand(2), rows[[0, 2]])
    assert second.tokens.tolist() == [[5], [0]]
    assert second.ended.tolist() == [True, True]
    assert second.chosen.all()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_the_model(liner: Student, temperature: float) -> None:
    prompt = encode_prompt(liner.tokenizer, "Heat", 64)
    for one in write(
        liner, Sampler("lines", liner.tokenizer, N, 24).rule([]), temperature=temperature
    )[:4]:
        with torch.no_grad():
            logits = liner.model(torch.tensor([prompt + one.ids])).logits[0, len(prompt) - 1 : -1]
        logps = (logits / temperature).log_softmax(-1).gather(1, torch.tensor(one.ids)[:, None])
        expected = logps[:, 0] * torch.tensor(one.chosen)
        torch.testing.assert_close(torch.tensor(one.logps), expected, atol=2e-4, rtol=1e-4)


def test_texts_have_no_line_after_the_last(liner: Student, micro: Config) -> None:
    config = micro.model_copy(update={"list_length": N})
    how: dict[str, Any] = {"config": config, "samples": SAMPLES, "temperature": 2.0}
    (texts,) = sample_texts(liner, ["Heat"], **how, sampler="lines")
    assert max(text.count("\n") for text in texts) == N - 1
    (free,) = sample_texts(liner, ["Heat"], **how, sampler="free")
    assert max(text.count("\n") for text in free) >= N
    for text, other in zip(texts, free, strict=True):
        assert text == "\n".join(other.split("\n")[:N])


def test_an_id_that_the_tokenizer_does_not_know_has_no_newline() -> None:
    rule = EndAtLines(0, 1, torch.tensor([0, 1]))
    rule.start(1, torch.device("cpu"))
    choice = rule.choose(torch.eye(9)[[8]], 0, torch.rand(1), torch.tensor([0]))
    assert (choice.tokens.item(), choice.ended.item()) == (8, False)
