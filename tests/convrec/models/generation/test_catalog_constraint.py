from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise, permutations
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.generation.catalog_constraint import (
    CatalogConstraint,
    generate_constrained,
    sample_allowed,
)
from convrec.models.generation.catalog_lines import CatalogLines, LineForms, tokenize_lines
from convrec.models.generation.loop import GeneratedList, generate_lists
from convrec.models.generation.multinomial import sample_tokens, uniform_draws
from convrec.models.generation.sample import sample_texts
from convrec.models.load import Student
from convrec.models.prompts import encode_prompt

CATALOG = [
    "Alien (1979)", "Alien", "Aliens (1986)", "Alien 3 (1992)", "Heat (1995)", "Up (2009)",
    "(500) Days of Summer (2009)", "Amélie (2001)", "東京物語 (1953)", "Se7en (1995)",
]  # fmt: skip


def merging_tokenizer() -> Tokenizer:
    """A tokenizer in which ")\\n" is one token, as in Qwen's vocabulary."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\s\w]+\n*| ?\w+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return bpe


def marking_tokenizer() -> Tokenizer:
    """A tokenizer that puts a space before the first word of a text, as in Llama 2's vocabulary."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split("\n", behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return bpe


def greedy_list(
    student: Student,
    text: str,
    lines: list[str],
    n: int,
    config: Config,
    *,
    seen: Collection[str] = (),
) -> list[str]:
    catalog = CatalogLines(student.tokenizer, lines, config.line_format)
    constraint = CatalogConstraint(catalog, n, catalog.excluded([seen], n))
    prompt = encode_prompt(student.tokenizer, text, config.model.max_prompt_tokens)
    return generate_constrained(student, [prompt], constraint, temperature=0)[0]


def train_tokenizer(bpe: Tokenizer) -> Any:
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["\n".join(CATALOG)] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|end|>")


@pytest.fixture(params=[None, merging_tokenizer, marking_tokenizer])
def any_student(request: pytest.FixtureRequest, student: Student) -> Student:
    if request.param is None:
        return student
    tokenizer = train_tokenizer(request.param())
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return Student(Qwen2ForCausalLM(config), tokenizer)


def test_a_random_model_generates_only_allowed_lines(any_student: Student, micro: Config) -> None:
    seen = ["Heat (1995)", "never in the catalog"]
    lists = [
        greedy_list(any_student, text, CATALOG, 9, micro, seen=seen)
        for text in ("Up", "funny", "something long and sad")
    ]
    for chosen in lists:
        assert len(chosen) == len(set(chosen)) == 9
        assert set(chosen) == set(CATALOG) - {"Heat (1995)"}
    again = greedy_list(any_student, "Up", CATALOG, 9, micro, seen=seen)
    assert again == lists[0]
    assert greedy_list(any_student, "Up", CATALOG, 4, micro, seen=seen)[:3] == lists[0][:3]


def test_line_tokens_are_those_inside_a_list(any_student: Student) -> None:
    tokenizer = any_student.tokenizer
    first, inside, last, only = tokenize_lines(tokenizer, CATALOG)
    for i, j in pairwise(range(len(CATALOG))):
        pair = inside[i] + last[j][:-1]
        text = f"Heat (1995)\n{CATALOG[i]}\n{CATALOG[j]}"
        assert pair == tokenizer(text)["input_ids"][-len(pair) :]
        assert first[i] + last[j][:-1] == tokenizer(f"{CATALOG[i]}\n{CATALOG[j]}")["input_ids"]
        assert only[i][:-1] == tokenizer(CATALOG[i])["input_ids"]
        assert last[j][-1] == only[j][-1] == tokenizer.eos_token_id


def test_greedy_takes_the_most_likely_allowed_token(student: Student, micro: Config) -> None:
    """Against the whole text through the model, for two catalog lines with different starts."""
    lines = ["Heat (1995)", "Up (2009)"]
    tokenizer = student.tokenizer
    text = "<|user|>Alien<|assistant|>"
    with torch.no_grad():
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        logits = student.model(ids).logits[0, -1]
    first = [tokenizer(line)["input_ids"][0] for line in lines]
    expected = lines if logits[first[0]] > logits[first[1]] else lines[::-1]
    assert greedy_list(student, "Alien", lines, 2, micro) == expected


def test_too_few_lines_are_an_error(student: Student, micro: Config) -> None:
    with pytest.raises(InputError, match=r"a list of 3 needs 3 unseen .* only 2 are left"):
        greedy_list(student, "Up", ["a", "b", "b", "c"], 3, micro, seen=["c"])


TINY_CATALOG = ["Alien", "Alien (1979)", "Up (2009)", "Up (2010)"]


def all_lists(student: Student, lines: list[str], n: int) -> dict[tuple[str, ...], list[int]]:
    """All lists of `n` different lines, with their tokens."""
    forms = tokenize_lines(student.tokenizer, lines)
    tokens = {line: [form[i] for form in forms] for i, line in enumerate(lines)}
    ranks = LineForms.by_rank(n)
    return {
        chosen: [t for line, form in zip(chosen, ranks, strict=True) for t in tokens[line][form]]
        for chosen in permutations(lines, n)
    }


def log_probabilities(
    student: Student, prompt: list[int], lists: Iterable[list[int]]
) -> list[list[float]]:
    """Of each token under the model masked to the prefixes of `lists`, computed naively."""
    every = list(lists)
    result = []
    for ids in every:
        with torch.no_grad():
            logits = student.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        row = []
        for t, token in enumerate(ids):
            allowed = sorted({other[t] for other in every if other[:t] == ids[:t]})
            row.append(float(logits[t][allowed].log_softmax(0)[allowed.index(token)]))
        result.append(row)
    return result


@pytest.mark.parametrize("n", [1, 2, 3])
def test_samples_follow_the_masked_model(any_student: Student, n: int) -> None:
    prompt = encode_prompt(any_student.tokenizer, "Up", 64)
    lists = all_lists(any_student, TINY_CATALOG, n)
    every = dict(zip(lists, log_probabilities(any_student, prompt, lists.values()), strict=True))
    assert sum(torch.tensor(row).sum().exp() for row in every.values()) == pytest.approx(1, 1e-4)
    catalog = CatalogLines(any_student.tokenizer, TINY_CATALOG)
    constraint = CatalogConstraint(catalog, n, catalog.excluded([()] * 400, n))
    draws = uniform_draws(400, catalog.max_tokens(n), 0)
    generated = generate_lists(*any_student, [prompt], constraint, draws=draws, samples=400)
    counts: dict[tuple[str, ...], int] = {}
    for texts, one in zip(constraint.generated_lines(), generated, strict=True):
        chosen = tuple(texts)
        assert one.ids == lists[chosen]
        assert one.logps == pytest.approx(every[chosen], abs=2e-4)
        assert all(is_chosen or x == 0 for x, is_chosen in zip(one.logps, one.chosen, strict=True))
        counts[chosen] = counts.get(chosen, 0) + 1
    for chosen, row in every.items():
        share = float(torch.tensor(row).sum().exp())
        spread = 5 * (share * (1 - share) / 400) ** 0.5 + 0.005
        assert abs(counts.get(chosen, 0) / 400 - share) < spread


def sample(student: Student, texts: list[str], samples: int, rows: torch.Tensor) -> Any:
    catalog = CatalogLines(student.tokenizer, CATALOG)
    seen = [{CATALOG[i % 5]} for i in rows.tolist()]
    constraint = CatalogConstraint(catalog, 5, catalog.excluded(seen, 5))
    draws = uniform_draws(12, catalog.max_tokens(5), 4)[rows]
    prompts = [encode_prompt(student.tokenizer, text, 64) for text in texts]
    generated = generate_lists(*student, prompts, constraint, draws=draws, samples=samples)
    return constraint.generated_lines(), generated


def assert_equal(ones: list[GeneratedList], others: list[GeneratedList]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.ids == other.ids
        assert one.logps == pytest.approx(other.logps, abs=2e-4)


def test_a_list_is_the_same_alone_and_in_a_batch(any_student: Student) -> None:
    """Forced tokens are appended in small batches only; a prompt is read once for four lists."""
    texts = ["Up", "something funny and long", "Heat"]
    lists, generated = sample(any_student, texts, 4, torch.arange(12))
    for row in range(12):
        alone, one = sample(any_student, [texts[row // 4]], 1, torch.tensor([row]))
        assert alone == [lists[row]]
        assert one[0].ids == generated[row].ids
        logps = [x for x, chosen in zip(one[0].logps, one[0].chosen, strict=True) if chosen]
        other = [x for x, c in zip(generated[row].logps, generated[row].chosen, strict=True) if c]
        assert logps == pytest.approx(other, abs=2e-4)
        assert CATALOG[row % 5] not in lists[row]
        assert len(set(lists[row])) == 5
        assert set(lists[row]) <= set(CATALOG)
    repeated = [text for text in texts for _ in range(4)]
    apart, separate = sample(any_student, repeated, 1, torch.arange(12))
    assert apart == lists
    assert_equal(separate, generated)
    assert len(set(map(tuple, lists))) > 6


def test_a_draw_selects_as_from_the_whole_vocabulary() -> None:
    torch.manual_seed(0)
    logits, draws = torch.randn(200, 30), torch.rand(200)
    tokens = torch.tensor([2, 5, 11, 29]).expand(200, 4)
    allowed = torch.rand(200, 4) > 0.4
    allowed[:, 2] |= ~allowed.any(dim=1)
    masked = torch.full_like(logits, -torch.inf)
    masked = masked.scatter(1, tokens, logits.gather(1, tokens).masked_fill(~allowed, -torch.inf))
    for temperature in (0, 1.0, 0.5):
        slots, logps = sample_allowed(logits, tokens, allowed, temperature, draws)
        expected, expected_logps = sample_tokens(masked, temperature, draws)
        assert torch.equal(tokens.gather(1, slots)[:, 0], expected)
        torch.testing.assert_close(logps.float(), expected_logps)


def test_greedy_batches_equal_single_lists(any_student: Student, micro: Config) -> None:
    texts = ["Up", "funny", "something long and sad", "Heat", "Alien"]
    catalog = CatalogLines(any_student.tokenizer, CATALOG)
    prompts = [encode_prompt(any_student.tokenizer, text, 64) for text in texts]
    constraint = CatalogConstraint(catalog, 9, catalog.excluded([()] * 5, 9))
    batched = generate_constrained(any_student, prompts, constraint, temperature=0)
    assert batched == [greedy_list(any_student, text, CATALOG, 9, micro) for text in texts]


def test_sample_texts_with_the_constrained_sampler(student: Student, micro: Config) -> None:
    config = micro.model_copy(update={"list_length": 6})
    seen: list[list[dict[str, Any]]] = [[{"title": "alien", "year": 1980}], []]
    answers = sample_texts(
        student,
        ["Heat", "Up"],
        config=config,
        samples=5,
        sampler="constrained",
        lines=CATALOG,
        seen=seen,
    )
    for texts, excluded in zip(answers, [{"Alien", "Alien (1979)"}, set()], strict=True):
        for text in texts:
            lines = text.split("\n")
            assert len(set(lines)) == 6
            assert set(lines) <= set(CATALOG) - excluded
    with pytest.raises(InputError, match="needs a catalog"):
        sample_texts(student, ["Heat"], config=config, sampler="constrained")


def test_seen_titles_are_matched_as_in_metrics(student: Student) -> None:
    catalog = CatalogLines(student.tokenizer, CATALOG)
    assert catalog.seen([("ALIEN", 1981), ("Heat", None), ("Up", 2015), ("Nowhere", 1)]) == {
        "Alien (1979)",
        "Alien",
        "Heat (1995)",
    }
