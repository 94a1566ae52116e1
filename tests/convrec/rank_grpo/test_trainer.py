"""Contracts with TRL 1.16: equal rewards are plain GRPO, and the gradient is the objective's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from convrec.config import Model
from convrec.errors import TrainingError
from convrec.rank_grpo import RankGRPOTrainer, rank_grpo_loss
from convrec.rank_grpo.rollout import Rollout
from convrec.rank_grpo.trainer import LOSS_TYPE, Shaping
from convrec.sft.student import Student, load_checkpoint
from convrec.sft.tiny import make_tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func'"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]

N, GROUP, PROMPTS, LENGTH = 4, 4, 2, 10
GOLDEN_LOSSES = [0.025223346, -0.007108972, -0.005332217, -0.040188424]
GOLDEN_NORMS = [0.5208, 0.04865, 0.489, 0.323]
PROMPTS_READ = ["something like Heat or Alien", "films with Big"]


class Drawn(Rollout):
    """Random tokens in place of a model's: lines of some length, and with `ends` the rest too.

    With `ends`, some lists end early, some after exactly N lines, and one runs past rank N.
    """

    def __init__(self, ends: bool) -> None:
        super().__init__(LENGTH, 1.0)
        self.ends = ends

    def __call__(self, prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        tokenizer = trainer.processing_class
        newline, end = tokenizer.encode("\n")[0], tokenizer.eos_token_id
        generator = torch.Generator().manual_seed(trainer._step)
        drawn = torch.randint(10, 250, (len(prompts), LENGTH), generator=generator)
        drawn[drawn == newline] = 10
        drawn[:, 3] = newline
        drawn[::2, 6] = newline
        lists: list[list[int]] = drawn.tolist()
        if self.ends:
            lists[0][6] = lists[2][6] = 10
            lists[0][1:8:2] = [newline] * 4
            lists[0][8] = newline
            lists[1] = [*lists[1][:7], end]
            lists[2][1:6:2] = [newline] * 3
            lists[2] = [*lists[2][:8], end]
        return {"prompt_ids": prompts, "completion_ids": lists, "logprobs": None}


def scalar_reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [sum(ids) % 7 / 7 for ids in completion_ids]


def arguments(folder: Path, loss_type: str, **more: Any) -> GRPOConfig:
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 3,
        "per_device_train_batch_size": GROUP * PROMPTS,
        "num_generations": GROUP,
        "max_completion_length": LENGTH,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "beta": 1e-3,
        "use_bias_correction_kl": False,
        "epsilon": 0.06,
        "epsilon_high": 0.08,
        "loss_type": loss_type,
        "bf16": False,
        "activation_checkpointing": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        "seed": 3,
    }
    return GRPOConfig(**{**values, **more})


def common(student: Student, args: GRPOConfig, ends: bool = False) -> dict[str, Any]:
    prompts = [student.tokenizer.encode(text)[:6] for text in PROMPTS_READ] * 8
    return {
        "model": student.model.double(),
        "reward_funcs": scalar_reward,
        "args": args,
        "train_dataset": Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        "processing_class": student.tokenizer,
        "rollout_func": Drawn(ends),
    }


def rank_trainer(
    checkpoint: Path, folder: Path, reduction: Any, rank_reward: Any, **more: Any
) -> RankGRPOTrainer:
    student = load_checkpoint(checkpoint)
    args = arguments(folder, LOSS_TYPE[reduction], **more)
    return RankGRPOTrainer(
        **common(student, args, ends=True),
        rank_reward=rank_reward,
        n_ranks=N,
        reduction=reduction,
    )


def train(trainer: GRPOTrainer) -> None:
    """Train with one order of rows, so that sums are rounded alike."""
    torch.manual_seed(4)
    trainer.train()


def weights(trainer: GRPOTrainer) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])


@pytest.mark.parametrize("reduction", ["sequence", "token"])
def test_equal_rank_rewards_are_plain_grpo(
    checkpoint: Path, tmp_path: Path, reduction: Any
) -> None:
    args = arguments(tmp_path, LOSS_TYPE[reduction])
    plain = GRPOTrainer(**common(load_checkpoint(checkpoint), args))
    before = weights(plain)
    train(plain)

    class SameEverywhere(RankGRPOTrainer):
        def _calculate_rewards(self, *args: Any) -> Tensor:
            rewards = super()._calculate_rewards(*args)
            self._rank_rewards = rewards.sum(dim=1, keepdim=True).expand(-1, N).contiguous()
            return rewards

    args = arguments(tmp_path, LOSS_TYPE[reduction])
    ours = SameEverywhere(
        **common(load_checkpoint(checkpoint), args),
        rank_reward=lambda text, row: [0.0] * N,
        n_ranks=N,
        reduction=reduction,
    )
    train(ours)
    moved = (weights(plain) - before).abs().max()
    assert moved > 1e-2
    assert (weights(ours) - weights(plain)).abs().max() < 1e-4


def some_rank_reward(text: str, row: dict[str, Any]) -> list[float]:
    return [float(hash_ % 5) for hash_ in (len(text), sum(map(ord, text)), 3 * len(text), 2)]


def batch_of(trainer: RankGRPOTrainer) -> dict[str, Any]:
    prompts = [row["prompt"] for row in trainer.train_dataset.select(range(PROMPTS))]
    rows = [{"prompt": prompt} for prompt in prompts for _ in range(GROUP)]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions(rows)


def test_going_on_past_n_and_ending_are_shaped_apart_from_titles(
    checkpoint: Path, tmp_path: Path
) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", some_rank_reward)
    batch = batch_of(trainer)
    ids, advantages = batch["rank_ids"], batch["advantages"]
    long, exact, early = ids[0].tolist(), ids[2].tolist(), ids[1].tolist()
    assert long == [0, 0, 1, 1, 2, 2, 3, N, N, N + 1]
    assert exact[:9] == [0, 0, 1, 1, 2, 2, 3, 3, N]
    assert early[:8] == [0, 0, 0, 0, 1, 1, 1, N]
    length = batch["completion_mask"].sum(dim=1)
    assert torch.allclose(advantages[0, 7:], torch.full((3,), -0.1 * length[0] / (N * 3)))
    assert torch.allclose(advantages[2, 8], 0.1 * length[2] / N)
    assert torch.allclose(advantages[1, 7], -0.1 * length[1] / N)


def test_faults_are_added_to_the_advantages_of_their_ranks(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Without hits only faults are left: -w on the tokens of the one line at fault of four."""

    def nothing(text: str, row: dict[str, Any]) -> list[float]:
        return [0.0] * N

    lists = iter(range(10**6))

    def faults(text: str, row: dict[str, Any]) -> list[float]:
        return [0.0, float(next(lists) % GROUP == 3), 0.0, 0.0]

    trainer = RankGRPOTrainer(
        **common(load_checkpoint(checkpoint), arguments(tmp_path, LOSS_TYPE["sequence"])),
        rank_reward=nothing,
        n_ranks=N,
        rank_faults=faults,
        shaping=Shaping(overflow=0.0, exact=0.0, early=0.0, fault=0.8),
        reduction="sequence",
    )
    batch = batch_of(trainer)
    of_rank = batch["advantages"][batch["rank_ids"] == 1].unique()
    assert sorted(of_rank.tolist()) == pytest.approx([-0.6, 0.2])
    assert not batch["advantages"][batch["rank_ids"] != 1].any()


def logps_of(trainer: RankGRPOTrainer, batch: dict[str, Any]) -> Tensor:
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    logps: Tensor = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, mask, batch["completion_ids"].size(1)
    )[0]
    return logps


def gradient(trainer: RankGRPOTrainer, loss: Tensor) -> Tensor:
    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])


def leave_the_reference(trainer: RankGRPOTrainer) -> None:
    """Move the policy, so that the KL term has a gradient."""
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight += 0.02 * torch.randn_like(weight)


def direct_loss(
    batch: dict[str, Any], logps: Tensor, old: Tensor, reduction: Any = "rank"
) -> Tensor:
    """The objective as a formula, with the weight of ranks taken out of TRL's advantages again."""
    advantages, segments = batch["advantages"], batch["rank_ids"]
    if reduction == "rank":
        lengths = (segments >= 0).sum(dim=1, keepdim=True)
        spans = segments.clamp(max=N)
        sizes = torch.stack([(spans == ids[:, None]).sum(1) for ids in spans.T], dim=1)
        advantages = advantages * N * sizes / lengths
    return rank_grpo_loss(
        logps,
        old,
        batch["ref_per_token_logps"],
        advantages,
        segments,
        N,
        beta=0.1,
        reduction=reduction,
    )


@pytest.mark.parametrize("reduction", ["rank", "token", "sequence"])
@pytest.mark.parametrize("off_policy", [False, True])
def test_the_gradient_is_that_of_the_objective(
    checkpoint: Path, tmp_path: Path, reduction: Any, off_policy: bool
) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, reduction, some_rank_reward, beta=0.1)
    batch = batch_of(trainer)
    leave_the_reference(trainer)
    old = logps_of(trainer, batch).detach()
    assert (batch["rank_ids"] > N).any()
    if off_policy:
        torch.manual_seed(1)
        old = old + 0.1 * torch.randn_like(old) * batch["completion_mask"]
        batch["old_per_token_logps"] = old
        spread = logps_of(trainer, batch).detach() - old
        assert spread.abs().max() > 0.2
    ours = trainer._compute_loss(trainer.model, copy.copy(batch))
    gradient_ours = gradient(trainer, ours)
    direct = direct_loss(batch, logps_of(trainer, batch), old, reduction)
    gradient_direct = gradient(trainer, direct)
    assert ours.item() == pytest.approx(direct.item(), abs=1e-6)
    assert gradient_direct.abs().max() > 1e-4
    assert torch.allclose(gradient_ours, gradient_direct, atol=1e-6)


def test_an_off_policy_step_needs_rank_ratios(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", some_rank_reward)
    batch = batch_of(trainer)
    torch.manual_seed(1)
    batch["old_per_token_logps"] = logps_of(trainer, batch).detach() + 0.1 * torch.randn_like(
        batch["advantages"]
    )
    by_rank = gradient(trainer, trainer._compute_loss(trainer.model, batch))
    by_token = gradient(trainer, GRPOTrainer._compute_loss(trainer, trainer.model, batch))
    assert (by_rank - by_token).norm() > 0.1 * by_rank.norm()


def test_two_iterations_on_one_generation_go_through(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(
        checkpoint, tmp_path, "rank", some_rank_reward, num_iterations=2, max_steps=4
    )
    before = weights(trainer)
    trainer.train()
    assert trainer._step == 4
    assert torch.isfinite(weights(trainer)).all()
    assert not torch.equal(before, weights(trainer))
    assert "old_per_token_logps" in trainer._buffered_inputs[0]


def test_the_second_iteration_on_one_generation_has_the_gradient_of_the_objective(
    checkpoint: Path, tmp_path: Path
) -> None:
    """What `trainer.train()` really steps on, with old log-probabilities that TRL kept."""
    found: list[tuple[Tensor, Tensor, float]] = []

    class Compared(RankGRPOTrainer):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
            loss = super()._compute_loss(model, inputs)
            new, old = logps_of(self, inputs), inputs["old_per_token_logps"]
            direct = direct_loss(inputs, new, old)
            both = [
                torch.cat(
                    [
                        part.flatten()
                        for part in torch.autograd.grad(
                            one, list(model.parameters()), retain_graph=True
                        )
                    ]
                )
                for one in (loss, direct)
            ]
            found.append((both[0], both[1], float((new - old).detach().abs().max())))
            return loss

    args = arguments(tmp_path, "grpo", num_iterations=2, max_steps=4, beta=0.1)
    trainer = Compared(
        **common(load_checkpoint(checkpoint), args, ends=True),
        rank_reward=some_rank_reward,
        n_ranks=N,
        reduction="rank",
    )
    trainer.train()
    assert len(found) == 4
    for step, (ours, direct, moved) in enumerate(found):
        assert torch.allclose(ours, direct, atol=1e-6)
        assert direct.abs().max() > 1e-4
        assert moved > 0.05 if step % 2 else moved < 1e-9
    shares = [log for log in trainer.state.log_history if f"clip_share@rank{N}" in log]
    by_step = [sum(log[f"clip_share@rank{rank + 1}"] for rank in range(N)) for log in shares]
    assert by_step[0] == by_step[2] == 0
    assert by_step[1] > 0


def test_what_the_sampler_wrote_is_out_of_the_objective(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", some_rank_reward, beta=0.1)
    plain = trainer.rollout_func

    def marked(prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        written = plain(prompts, trainer)
        lists = written["completion_ids"]
        return {**written, "env_mask": [[int(k % 5 != 4) for k in range(len(x))] for x in lists]}

    trainer.rollout_func = marked
    batch = batch_of(trainer)
    leave_the_reference(trainer)
    hidden = (batch["tool_mask"] == 0) & batch["completion_mask"].bool()
    assert hidden.any()
    assert (batch["rank_ids"][hidden] == -1).all()
    assert (batch["rank_ids"][2] == N).any(), "hidden newlines still count"
    old = batch["old_per_token_logps"] = logps_of(trainer, batch).detach() + 0.05
    ours = trainer._compute_loss(trainer.model, copy.copy(batch))
    direct = direct_loss(batch, logps_of(trainer, batch), old)
    assert ours.item() == pytest.approx(direct.item(), abs=1e-6)
    assert torch.allclose(gradient(trainer, ours), gradient(trainer, direct), atol=1e-6)


def test_a_golden_trajectory(checkpoint: Path, tmp_path: Path) -> None:
    """Losses of four steps on one start in float64: what moves them changes the method."""
    texts = [*PROMPTS_READ, "Heat (1995)\nAlien (1979)\nBig (1988)"]
    student = Student(*make_tiny(texts, Model(vocabulary=300, hidden=16, layers=2), seed=0))
    student.model.save_pretrained(tmp_path / "start")
    student.tokenizer.save_pretrained(tmp_path / "start")
    trainer = rank_trainer(
        tmp_path / "start", tmp_path / "out", "rank", some_rank_reward,
        num_iterations=2, max_steps=4, beta=0.1,
    )  # fmt: skip
    train(trainer)
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    norms = [log["grad_norm"] for log in trainer.state.log_history if "loss" in log]
    assert losses == pytest.approx(GOLDEN_LOSSES, abs=2e-6)
    assert norms == pytest.approx(GOLDEN_NORMS, rel=1e-3)


def test_a_trl_that_reads_old_logps_first_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", some_rank_reward)
    batch = batch_of(trainer)

    def other_order(self: Any, model: Any, inputs: dict[str, Any]) -> Tensor:
        return torch.zeros(1) - inputs["old_per_token_logps"]

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", other_order)
    with pytest.raises(TrainingError, match=r"trl 1\.16"):
        trainer._compute_loss(trainer.model, batch)
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda *_: torch.zeros(1))
    with pytest.raises(TrainingError, match=r"trl 1\.16"):
        trainer._compute_loss(trainer.model, batch)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss_type": "dapo"}, "loss_type='grpo'"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level='token'"),
        ({"use_bias_correction_kl": True}, "use_bias_correction_kl=False"),
    ],
)
def test_settings_that_compute_another_objective_are_refused(
    checkpoint: Path, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    args = arguments(tmp_path, **{"loss_type": "grpo", **wrong})
    with pytest.raises(TrainingError, match=said):
        RankGRPOTrainer(
            **common(load_checkpoint(checkpoint), args),
            rank_reward=some_rank_reward,
            n_ranks=N,
            reduction="rank",
        )
