"""Lists that stop after N lines: which tokens are chosen, and which are forced."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from convrec.config import Config
from convrec.models.generation.loop import DecodingConstraint, GeneratedList, generate_lists
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.generation.sample import sample_texts
from convrec.models.generation.samplers import Sampler
from convrec.models.generation.without_catalog import StopAfterLines, Unconstrained
from convrec.models.load import Student
from convrec.models.prompts import encode_prompt

N = 3
SAMPLES = 48


@pytest.fixture
def line_student(student: Student) -> Student:
    """A random model that prefers newlines and, less, EOS."""
    tokenizer = student.tokenizer
    newline = tokenizer("\n")["input_ids"][0]
    with torch.no_grad():
        weights = student.model.model.embed_tokens.weight
        weights[newline] = 3 * weights[100]
        weights[tokenizer.eos_token_id] = 2.5 * weights[101]
    return student


def generate(
    student: Student, constraint: DecodingConstraint, **options: Any
) -> list[GeneratedList]:
    prompts = [encode_prompt(student.tokenizer, text, 64) for text in ("Heat", "Up (2009) please")]
    draws = uniform_draws(2 * SAMPLES, 24, 3)
    return generate_lists(*student, prompts, constraint, draws=draws, samples=SAMPLES, **options)


def newlines(student: Student, ids: list[int]) -> int:
    return int(student.tokenizer.decode(ids).count("\n"))


def test_a_list_ends_with_newline_n_and_a_forced_eos(line_student: Student) -> None:
    eos = line_student.tokenizer.eos_token_id
    sampler = Sampler("lines", line_student.tokenizer, N, 24)
    free = generate(line_student, Unconstrained(eos), temperature=2.0)
    stopped = generate(line_student, sampler.constraint([]), temperature=2.0)
    kinds = set()
    for one, other in zip(stopped, free, strict=True):
        lines = newlines(line_student, one.ids)
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
            assert newlines(line_student, one.ids[:-2]) == N - 1
        kinds.add((forced, one.ids[-1] == eos, lines))
    assert (True, True, N) in kinds  # stopped
    assert any(not forced and end and lines < N - 1 for forced, end, lines in kinds)  # too early


def test_the_token_that_closes_line_n_is_kept() -> None:
    """Token 5 stands for ")\\n" and token 6 for two newlines."""
    counts = torch.tensor([0, 0, 0, 0, 0, 1, 2])
    constraint = StopAfterLines(0, 2, counts)
    constraint.reset(3, torch.device("cpu"))
    rows = torch.arange(3)
    first = constraint.choose_tokens(5.0 * torch.eye(7)[[5, 6, 1]], 0, torch.rand(3), rows)
    assert first.ended.tolist() == [False, True, False]
    second = constraint.choose_tokens(5.0 * torch.eye(7)[[5, 0]], 0, torch.rand(2), rows[[0, 2]])
    assert second.tokens.tolist() == [[5], [0]]
    assert second.ended.tolist() == [True, True]
    assert second.chosen.all()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_the_model_s(line_student: Student, temperature: float) -> None:
    model, tokenizer = line_student
    prompt = encode_prompt(tokenizer, "Heat", 64)
    constraint = Sampler("lines", tokenizer, N, 24).constraint([])
    for one in generate(line_student, constraint, temperature=temperature)[:4]:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + one.ids])).logits[0, len(prompt) - 1 : -1]
        logps = (logits / temperature).log_softmax(-1).gather(1, torch.tensor(one.ids)[:, None])
        expected = logps[:, 0] * torch.tensor(one.chosen)
        torch.testing.assert_close(torch.tensor(one.logps), expected, atol=2e-4, rtol=1e-4)


def test_texts_are_cut_after_line_n(line_student: Student, micro: Config) -> None:
    config = micro.model_copy(update={"list_length": N})
    options: dict[str, Any] = {"config": config, "samples": SAMPLES, "temperature": 2.0}
    (texts,) = sample_texts(line_student, ["Heat"], **options, sampler="lines")
    assert max(text.count("\n") for text in texts) == N - 1
    (free,) = sample_texts(line_student, ["Heat"], **options, sampler="free")
    assert max(text.count("\n") for text in free) >= N
    for text, other in zip(texts, free, strict=True):
        assert text == "\n".join(other.split("\n")[:N])


def test_an_id_beyond_the_tokenizer_has_no_newline() -> None:
    constraint = StopAfterLines(0, 1, torch.tensor([0, 1]))
    constraint.reset(1, torch.device("cpu"))
    choice = constraint.choose_tokens(torch.eye(9)[[8]], 0, torch.rand(1), torch.tensor([0]))
    assert (choice.tokens.item(), choice.ended.item()) == (8, False)
