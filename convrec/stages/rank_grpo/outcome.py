"""Whether a training achieved anything: some sampled list must have had a reward."""

from __future__ import annotations

import logging

from convrec.errors import TrainingError
from convrec.training.metrics_log import MetricsLog
from convrec.utils.distributed import is_first

MIN_STEPS = 20
"""Steps from which a training without a reward has failed."""

_ZERO = 1e-6
"""A mean NDCG below this is 0 up to rounding."""

_LOG = logging.getLogger(__name__)


def check_rewards(metrics_log: MetricsLog, steps: int) -> str:
    """A warning, also logged, if no list of a training had a reward; empty if one had.

    The reward is NDCG. If it is 0 in all steps, no line of any list was in the ground truth, so the
    weights learned at most the form of a list. Raises TrainingError then, rather than keep a
    checkpoint that looks trained, unless fewer than MIN_STEPS steps ran: a trial run of a few steps
    may find nothing, and only shows that the pipeline works.
    """
    rewards = [value for _, value in metrics_log.curve("reward")]
    if not rewards or max(rewards) > _ZERO:
        return ""
    in_catalog, cut = (metrics_log.mean(name, 1, steps) for name in ("in_catalog", "cut"))
    text = (
        f"no list of all {steps} steps had a reward: no line was in the ground truth, "
        f"{in_catalog:.1%} of the lines were in the catalog, and {cut:.1%} of the lists reached "
        f"model.max_completion_tokens; {_advice(in_catalog, cut)}"
    )
    if steps >= MIN_STEPS:
        raise TrainingError(text)
    if is_first():
        _LOG.warning("%s", text)
    return text


def _advice(in_catalog: float, cut: float) -> str:
    if cut > 0.5:
        return "raise model.max_completion_tokens"
    if in_catalog < 0.5:
        return "train sft longer, or set rank_grpo.sampler=constrained"
    return "train sft longer, or raise rank_grpo.group_size"
