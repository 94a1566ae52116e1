"""The sections of a configuration: their keys, defaults and allowed values.

A description has the unit of a number, and the paper's symbol in brackets.
"""

from convrec.config.sections.data import Adjust, Ingest, Recommend, Reflect, Remap, SourceSection
from convrec.config.sections.evaluate import Evaluate
from convrec.config.sections.llm import Batch, Llm, ModelSettings, Price
from convrec.config.sections.model import Model, SamplerName
from convrec.config.sections.runner import Runner
from convrec.config.sections.train import Train
from convrec.config.sections.training import (
    DEFAULT_TARGETS,
    Lora,
    Optimizer,
    RankGrpo,
    Sft,
    Training,
)

__all__ = [
    "DEFAULT_TARGETS",
    "Adjust",
    "Batch",
    "Evaluate",
    "Ingest",
    "Llm",
    "Lora",
    "Model",
    "ModelSettings",
    "Optimizer",
    "Price",
    "RankGrpo",
    "Recommend",
    "Reflect",
    "Remap",
    "Runner",
    "SamplerName",
    "Sft",
    "SourceSection",
    "Train",
    "Training",
]
