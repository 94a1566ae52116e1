"""The data of a Rank-GRPO training: their order, how many are tokenized, and validation."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from convrec.config import Config
from convrec.models.load import load_checkpoint
from convrec.stages.rank_grpo import inputs
from convrec.stages.rank_grpo.inputs import prepare_inputs, training_data
from convrec.stages.rank_grpo.validation import Validation, best_metric
from convrec.titles.index import TitleIndex
from convrec.training.metrics_log import MetricsLog
from convrec.training.step_count import rank_grpo_steps
from tests.support.trainings import FILMS, SAMPLES, config

MANY: list[dict[str, Any]] = [
    {**SAMPLES[0], "context_id": str(i // 3), "conversation": f"post {i}", "sample_id": str(i)}
    for i in range(41)
]
MANY[7] = {**MANY[7], "ground_truth": []}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conversations that were tokenized, in order; their ids are their number."""
    seen: list[str] = []

    def encode(tokenizer: Any, prompt: str, config: Config) -> list[int]:
        seen.append(prompt)
        return [int(prompt.split()[1])]

    monkeypatch.setattr(inputs, "encode_student_prompt", encode)
    return seen


def expected_order(samples: int, settings: Any, seed: int) -> list[int]:
    """Shuffled epochs, each without its incomplete step, as of convrec 0.1."""
    per_epoch = samples - samples % settings.prompts_per_step
    generator = torch.Generator().manual_seed(seed)
    needed = math.ceil(settings.steps / settings.iterations) * settings.prompts_per_step
    order: list[int] = []
    while len(order) < needed:
        order += torch.randperm(samples, generator=generator).tolist()[:per_epoch]
    return order[:needed]


@pytest.mark.parametrize("steps", [3, 30])
@pytest.mark.parametrize("iterations", [1, 2])
def test_order_is_that_of_all_samples_shuffled(
    encoded: list[str], steps: int, iterations: int
) -> None:
    settings = config(steps=steps, iterations=iterations, prompts_per_step=4)
    data = training_data(MANY, None, settings, seed=3)
    with_truth = [i for i in range(41) if i != 7]
    order = [with_truth[i] for i in expected_order(40, settings.rank_grpo, 3)]
    assert [ids[0] for ids in data["prompt"]] == order
    assert len(encoded) == len(set(order))


def test_only_used_prompts_are_tokenized(encoded: list[str]) -> None:
    training_data(MANY, None, config(steps=2, prompts_per_step=3), seed=3)
    assert len(encoded) == 6


def test_samples_of_one_post_are_tokenized_once(encoded: list[str]) -> None:
    same = [{**sample, "conversation": f"post {i // 4}"} for i, sample in enumerate(MANY)]
    data = training_data(same, None, config(epochs=1, prompts_per_step=4), seed=1)
    assert len(data) == 40
    assert sorted(encoded) == sorted({sample["conversation"] for sample in same})


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"steps": 7}, 7),
        ({"steps": 7, "epochs": 1, "prompts_per_step": 4}, 10),
        ({"epochs": 2, "prompts_per_step": 3}, 26),
        ({"epochs": 0.5, "prompts_per_step": 4}, 5),
        ({"epochs": 0.5, "prompts_per_step": 4, "iterations": 2}, 10),
        ({"epochs": 0.001, "prompts_per_step": 4}, 1),
    ],
)
def test_epochs_decide_steps(encoded: list[str], settings: dict[str, Any], steps: int) -> None:
    configured = config(**settings)
    assert rank_grpo_steps(40, configured.rank_grpo) == steps
    data = training_data(MANY, None, configured, seed=1)
    generations = math.ceil(steps / configured.rank_grpo.iterations)
    assert len(data) == generations * configured.rank_grpo.prompts_per_step


def test_one_epoch_has_every_sample_once(encoded: list[str]) -> None:
    data = training_data(MANY, None, config(epochs=1, prompts_per_step=4), seed=1)
    assert len({ids[0] for ids in data["prompt"]}) == len(data) == 40


def prepare(checkpoint: Path, validation: list[dict[str, Any]], seed: int, **settings: Any) -> Any:
    student, index = load_checkpoint(checkpoint), TitleIndex(FILMS)
    return prepare_inputs(student, SAMPLES, validation, (), index, config(**settings), seed)


def test_inputs_have_the_steps_of_their_epochs(checkpoint: Path) -> None:
    prepared = prepare(checkpoint, [], 1, epochs=3)
    assert prepared.config.rank_grpo.steps == 9
    assert len(prepared.data) == 18


@pytest.mark.parametrize(
    ("films", "kept"),
    [
        ([("1", "Heat", 1995)], ["Heat"]),
        ([("1", "Heat", None), ("3", "Big", 1989)], ["Big", "Heat"]),
        ([("1", "Heat", 1986)], ["Alien", "Big", "Heat"]),
    ],
)
def test_samples_without_a_possible_reward_are_left_out(
    checkpoint: Path, films: list[tuple[str, str, int | None]], kept: list[str]
) -> None:
    samples = [
        {**sample, "ground_truth": [{"title": title, "year": year}]}
        for sample, (_, title, year) in zip(SAMPLES, FILMS, strict=False)
    ]
    settings = config(epochs=1, prompts_per_step=1)
    student, index = load_checkpoint(checkpoint), TitleIndex(films)
    prepared = prepare_inputs(student, samples, samples, (), index, settings, 1)
    assert sorted(row["ground_truth"][0]["title"] for row in prepared.data) == kept
    assert len(prepared.validation) == len(samples)


def test_validation_has_one_sample_of_each_drawn_context(checkpoint: Path) -> None:
    drawn = [
        [row["sample_id"] for row in prepare(checkpoint, MANY, seed, eval_samples=6).validation]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({int(sample) // 3 for sample in drawn[0]}) == 6
    assert "7" not in [row["sample_id"] for row in prepare(checkpoint, MANY, 1).validation]


def score(lists: list[str], tmp_path: Path, **settings: Any) -> dict[str, Any]:
    """What the validation of one evaluation logs."""
    configured = Config.model_validate(config().model_dump() | settings)
    log = MetricsLog(tmp_path)
    samples = [SAMPLES[0]] * len(lists)
    validation = Validation(samples, lambda: lists, TitleIndex(FILMS), configured, log)
    model: Any = SimpleNamespace(named_parameters=list)
    validation.on_train_begin(None, SimpleNamespace(global_step=0), None, model=model)
    return {name: dict(log.curve(name)).get(0) for name in log.frame()["name"].unique()}


def test_short_lists_are_validated_at_their_length(tmp_path: Path) -> None:
    truth, other = "Alien (1979)", "Big (1988)"
    values = score([f"{other}\n{truth}"], tmp_path, list_length=2)
    assert values["validation_ndcg@2"] == pytest.approx(1 / math.log2(3))
    assert values["validation_recall@2"] == 1
    assert not [name for name in values if "@20" in name]


def test_lines_past_the_list_length_do_not_count(tmp_path: Path) -> None:
    values = score(["Big (1988)\nHeat (1995)\nAlien (1979)"], tmp_path, list_length=2)
    assert values["validation_ndcg@2"] == values["validation_recall@2"] == 0


@pytest.mark.parametrize(("length", "name"), [(7, "ndcg@7"), (20, "ndcg@20"), (30, "ndcg@20")])
def test_best_weights_have_the_highest_ndcg_of_a_list(length: int, name: str) -> None:
    settings = Config.model_validate(
        {"list_length": length, "reflect": {"top": 40}, "remap": {"keep": 60}}
    )
    assert best_metric(settings) == name
