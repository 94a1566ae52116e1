"""Stage `sft`: the student learns to answer as the demonstrations do.

The first training stage of the paper (its section on behavioural cloning): the model sees each
conversation of split train and the list made for it, with loss on the list alone. Importing this
package imports no torch; building does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import Built, Job, Step, file_digest
from convrec.config import located

if TYPE_CHECKING:
    from convrec.config import Config

__all__ = ["SFT", "base_digest", "missing_base", "prompt_settings"]


def missing_base(base: str) -> str:
    """What is wrong with a `model.base` that is a path without a folder; else an empty text."""
    is_path = not base or base.startswith((".", "/", "~")) or base.count("/") > 1
    if not is_path or (base and located(base, "model.base").is_dir()):
        return ""
    return f"model.base={base} is not a folder; give `tiny`, the folder of a model, or a Hub name"


def prompt_settings(config: Config) -> dict[str, Any]:
    """What the student's prompt depends on besides the conversation, for an artifact's key."""
    settings: dict[str, Any] = {"prompt": config.model.prompt}
    if config.model.prompt == "instruct":
        settings |= {
            "domain": config.domain.noun,
            "list_length": config.list_length,
            "years": config.recommend.years,
            **config.domain.changed("plural", "line", "line_without_year", "student"),
        }
    return settings


def base_digest(job: Job) -> dict[str, str]:
    """The digest of the base model where it is a file or folder; a Hub name stands for itself."""
    from convrec.sft.packaged import is_packaged, packaged_file

    if is_packaged(job.config.model.base):
        return {"base": file_digest(packaged_file(job.config.model.base))}
    folder = located(job.config.model.base, "model.base")
    if job.config.model.base == "tiny" or not folder.is_dir():
        return {}
    return {"base": file_digest(folder)}


def _config(config: Config) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "sft": config.sft.model_dump(mode="json"),
        "model": config.model.model_dump(mode="json"),
        "prompt": prompt_settings(config),
    }


def _build(job: Job) -> Built:
    from convrec.sft.build import build_sft

    return build_sft(job)


SFT = Step(
    stage="sft",
    kind="checkpoint",
    version=2,
    build=_build,
    config=_config,
    inputs=base_digest,
    folder=True,
)
"""Parents: `conversations`, `demonstrations`. The checkpoint's folder is the artifact's folder."""
