"""Stage `sft`: the student learns to answer as the demonstrations do.

The first training stage of the paper (its section on behavioural cloning): the model sees each
conversation of split train and the list made for it, with loss on the list alone. Importing this
package imports no torch; building does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.models.identity import base_digest, prompt_settings
from convrec.stages.base import Step, StepContext

if TYPE_CHECKING:
    from convrec.config import Config

__all__ = ["SFT", "base_digest", "missing_base", "prompt_settings"]


def _config(config: Config) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "sft": config.sft.model_dump(mode="json"),
        "model": config.model.model_dump(mode="json"),
        "prompt": prompt_settings(config),
    }


def _build(ctx: StepContext) -> StepResult:
    from convrec.stages.sft.build import build_sft

    return build_sft(ctx)


SFT = Step(
    stage="sft",
    kind="checkpoint",
    version=2,
    build=_build,
    config=_config,
    inputs=lambda ctx: base_digest(ctx.config),
    folder=True,
)
"""Parents: `conversations`, `demonstrations`. The checkpoint's folder is the artifact's folder."""
