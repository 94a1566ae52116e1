from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from convrec.config import Config
from convrec.config.sections import SamplerName
from convrec.models.generation.loop import generate_lists
from convrec.models.generation.multinomial import sample_inverse_cdf, sample_tokens, uniform_draws
from convrec.models.generation.sample import decode_completion, sample_lists, sample_texts
from convrec.models.generation.without_catalog import Unconstrained
from convrec.models.load import Student, load_checkpoint, save_student
from convrec.models.prompts import encode_prompt

PROMPTS = [
    "Heat",
    "more like Alien (1979) please, and nothing too long",
    "Up (2009)",
    "something funny",
    "a film for the evening with my two children, who liked Up",
]


def sample_batch(
    model: Any, tokenizer: Any, prompts: list[list[int]], **options: Any
) -> list[list[int]]:
    constraint = Unconstrained(tokenizer.eos_token_id)
    return [one.ids for one in generate_lists(model, tokenizer, prompts, constraint, **options)]


def plain_greedy(student: Student, prompt: list[int], most: int) -> list[int]:
    """Greedy decoding without cache and padding."""
    ids: list[int] = []
    with torch.no_grad():
        while len(ids) < most and (not ids or ids[-1] != student.tokenizer.eos_token_id):
            ids.append(int(student.model(torch.tensor([prompt + ids])).logits[0, -1].argmax()))
    return ids


def test_padded_batch_equals_each_prompt_alone(student: Student) -> None:
    encoded = [encode_prompt(student.tokenizer, prompt, 64) for prompt in PROMPTS]
    assert len({len(ids) for ids in encoded}) > 3
    batched = sample_batch(*student, encoded, draws=uniform_draws(5, 24, 0), temperature=0)
    assert batched == [plain_greedy(student, ids, 24) for ids in encoded]
    assert len(set(map(tuple, batched))) > 1


def test_a_list_keeps_its_draws_in_any_batch(student: Student, micro: Config) -> None:
    wide = micro.model_copy(
        update={"evaluate": micro.evaluate.model_copy(update={"batch_size": 64})}
    )
    narrow = sample_texts(student, PROMPTS, config=micro, samples=3, seed=5)
    assert narrow == sample_texts(student, PROMPTS, config=wide, samples=3, seed=5)
    assert narrow != sample_texts(student, PROMPTS, config=wide, samples=3, seed=6)
    assert [len(answers) for answers in narrow] == [3] * 5
    assert len(set(narrow[0])) > 1


def test_lists_end_at_eos_or_at_the_limit(student: Student) -> None:
    eos = student.tokenizer.eos_token_id
    with torch.no_grad():  # tied embeddings: make EOS likely, not certain
        student.model.model.embed_tokens.weight[eos] *= 3
    prompt = encode_prompt(student.tokenizer, PROMPTS[0], 64)
    lists = sample_batch(
        *student, [prompt], samples=64, draws=uniform_draws(64, 12, 0), temperature=3
    )
    ended = [ids for ids in lists if ids[-1] == eos]
    assert 0 < len(ended) < 64
    assert all(eos not in ids[:-1] for ids in lists)
    assert {len(ids) for ids in lists if ids[-1] != eos} == {12}
    assert min(len(ids) for ids in ended) < 6


def test_draws_follow_the_softmax_at_the_temperature() -> None:
    logits = torch.tensor([[2.0, 0.0, -torch.inf, 1.0]])
    draws = (torch.arange(10_000) + 0.5) / 10_000
    chosen, logps = sample_tokens(logits.expand(10_000, 4), 2.0, draws)
    shares = chosen.bincount(minlength=4) / 10_000
    torch.testing.assert_close(shares, (logits[0] / 2).softmax(-1), atol=2e-4, rtol=0)
    torch.testing.assert_close(logps, (logits[0] / 2).log_softmax(-1)[chosen])
    assert sample_tokens(logits, 0, draws[:1])[0].tolist() == [0]
    assert sample_tokens(logits, 1.0, torch.tensor([1 - 2**-24]))[0].tolist() == [3]


@pytest.mark.parametrize("size", [7, 64, 1000])
def test_blocks_select_as_the_whole_cumulative_sum(size: int) -> None:
    torch.manual_seed(0)
    shares = torch.randn(300, size).mul(3).softmax(dim=-1)
    shares[:, ::3] = 0
    draws = torch.cat([torch.rand(298), torch.tensor([0.0, 1 - 2**-24])])
    cumulative = shares.double().cumsum(dim=-1)
    target = draws[:, None].double() * cumulative[:, -1:]
    expected = torch.searchsorted(cumulative, target, right=True)[:, 0]
    assert torch.equal(sample_inverse_cdf(shares, draws), expected)
    assert (shares.gather(1, sample_inverse_cdf(shares, torch.ones(300))[:, None]) > 0).all()


def test_text_keeps_every_token_but_eos(student: Student) -> None:
    tokenizer = student.tokenizer
    ids = tokenizer("Up (2009)<|user|>\n<|end|>")["input_ids"]
    assert decode_completion(tokenizer, ids) == "Up (2009)<|user|>\n"
    assert decode_completion(tokenizer, []) == ""


def test_the_mode_of_the_model_is_restored(student: Student) -> None:
    student.model.train()
    prompt = encode_prompt(student.tokenizer, "Up", 64)
    sample_batch(*student, [prompt], draws=uniform_draws(1, 2, 0))
    assert student.model.training


def test_a_saved_checkpoint_samples_like_the_model(
    student: Student, micro: Config, tmp_path: Path
) -> None:
    save_student(student, tmp_path)
    steps: list[int] = []
    from_disk = sample_texts(
        load_checkpoint(tmp_path),
        PROMPTS,
        config=micro,
        samples=2,
        seed=1,
        progress=lambda done, total, text: steps.append(done),
    )
    assert from_disk == sample_texts(student, PROMPTS, config=micro, samples=2, seed=1)
    assert steps == [3, 5]


@pytest.mark.parametrize("samples", [1, 4])
def test_samples_of_a_prompt_are_adjacent(student: Student, samples: int) -> None:
    encoded = [encode_prompt(student.tokenizer, prompt, 64) for prompt in PROMPTS[:2]]
    lists = sample_batch(
        *student, encoded, samples=samples, draws=uniform_draws(2 * samples, 8, 0), temperature=0
    )
    assert lists[:samples] == [lists[0]] * samples
    assert lists[samples:] == [lists[-1]] * samples
    assert lists[0] != lists[-1]


def test_shares_are_whole_batches_of_the_same_lists(student: Student, micro: Config) -> None:
    """Two prompts of three samples in a batch of six: three batches, dealt to two shares."""
    options = {"config": micro, "samples": 3, "seed": 5}
    whole = sample_lists(student, PROMPTS, **options)
    shares = [sample_lists(student, PROMPTS, share=(k, 2), **options) for k in range(2)]
    assert sorted(sum(map(bool, share)) for share in shares) == [2, 3]
    assert [a or b for a, b in zip(*shares, strict=True)] == whole
    assert not any(a and b for a, b in zip(*shares, strict=True))


def test_a_cut_list_is_marked(student: Student, micro: Config) -> None:
    eos = student.tokenizer.eos_token_id
    with torch.no_grad():
        student.model.model.embed_tokens.weight[eos] *= 3
    config = micro.model_copy(
        update={"model": micro.model.model_copy(update={"max_completion_tokens": 5})}
    )
    options = {"sampler": "free", "temperature": 3, "seed": 1}
    short = sample_lists(student, ["Heat"] * 40, config=config, **options)
    cut = [one.cut for (one,) in short]
    assert 0 < sum(cut) < 40
    long = sample_lists(student, ["Heat"] * 40, config=micro, **options)
    assert sum(one.cut for (one,) in long) < sum(cut)


@pytest.mark.parametrize("sampler", ["free", "lines", "distinct", "constrained"])
def test_temperature_0_is_greedy(student: Student, micro: Config, sampler: SamplerName) -> None:
    """No random number matters: another seed and more samples give the same list."""
    lines = ["Heat (1995)", "Up (2009)", "Alien (1979)"]
    config = micro.model_copy(update={"list_length": 2})
    options = {"config": config, "sampler": sampler, "lines": lines, "temperature": 0}
    first = sample_lists(student, PROMPTS, seed=1, **options)
    again = sample_lists(student, PROMPTS, seed=2, samples=3, **options)
    assert again == [drawn * 3 for drawn in first]
    assert len({drawn[0].text for drawn in first}) > 1
