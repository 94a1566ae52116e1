"""The pipeline as data: which artifact is made by which step, from which others, and when not.

Prefect runs it (`tasks/`), `convrec plan` walks it without running anything, and the docs draw it.
A node's name is its role: the same word names it wherever another step reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from convrec.config import Config, StageName
from convrec.pipeline.experiments.ablation import ABLATION, SEARCH
from convrec.pipeline.sources import no_teacher, source_roles
from convrec.stages.adjust import ADJUSTMENT, DEMONSTRATIONS
from convrec.stages.base import Step
from convrec.stages.evaluate import BASE_GENERATIONS, GENERATIONS, METRICS, REPORT
from convrec.stages.ingest import CATALOG, CONVERSATIONS, QUARANTINE
from convrec.stages.rank_grpo.step import RANK_GRPO
from convrec.stages.recommend.step import TEACHER_LISTS
from convrec.stages.reflect import JUDGMENTS
from convrec.stages.remap import CANDIDATES, SIMILARITY_BASIS, pin_name
from convrec.stages.sft import SFT


def _nothing(config: Config) -> str:
    return ""


def _itself(config: Config) -> Config:
    return config


@dataclass(frozen=True)
class Node:
    """One artifact of a run.

    `reads` maps the role under which the step knows a parent to the node that makes it; a parent
    that is skipped is left out; `reads_in` has what the sources bring, too. `skipped` gives the
    reason why this run goes without the node, or an empty string; `adapt` changes the run's
    configuration for this node alone.
    """

    name: str
    step: Step
    reads: Mapping[str, str] = field(default_factory=dict)
    skipped: Callable[[Config], str] = _nothing
    pin: Callable[[Config], str] = _nothing
    adapt: Callable[[Config], Config] = _itself

    @property
    def stage(self) -> StageName:
        """The stage that the node belongs to."""
        return self.step.stage

    def reads_in(self, config: Config) -> dict[str, str]:
        """What the node reads under a configuration, by role."""
        return {**self.reads, **(source_roles(config) if self.stage == "sft" else {})}


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _provided(config: Config) -> str:
    return no_teacher(config) or (
        "recommend.source=provided: the data brings its own lists"
        if config.recommend.source == "provided"
        else ""
    )


def _unjudged(config: Config) -> str:
    return _provided(config) or ("" if config.reflect.enabled else "reflect.enabled=false")


def _unadjusted(config: Config) -> str:
    return _provided(config) or ("" if config.adjust.enabled else "adjust.enabled=false")


def _no_base(config: Config) -> str:
    tiny = config.model.base == "tiny"
    return "model.base=tiny knows nothing before it is trained" if tiny else ""


_LISTS = ("teacher_lists", "candidates", "judgments", "demonstrations")
_MODELS = ("generations_base", "generations_sft", "generations_rank_grpo")

PIPELINE: tuple[Node, ...] = (
    Node("catalog", CATALOG),
    Node("conversations", CONVERSATIONS),
    Node("quarantine", QUARANTINE),
    Node("teacher_lists", TEACHER_LISTS, _same("conversations"), _provided),
    Node("similarity_basis", SIMILARITY_BASIS, _same("catalog"), _provided, pin_name),
    Node(
        "candidates",
        CANDIDATES,
        _same("catalog", "conversations", "teacher_lists", "similarity_basis"),
        _provided,
    ),
    Node("judgments", JUDGMENTS, _same("catalog", "conversations", "candidates"), _unjudged),
    Node(
        "adjustment",
        ADJUSTMENT,
        _same("catalog", "conversations", "candidates", "judgments"),
        _unadjusted,
    ),
    Node(
        "demonstrations",
        DEMONSTRATIONS,
        _same("catalog", "conversations", "candidates", "judgments", "adjustment"),
        no_teacher,
    ),
    Node("checkpoint_sft", SFT, _same("conversations", "demonstrations")),
    Node(
        "checkpoint_rank_grpo",
        RANK_GRPO,
        {**_same("catalog", "conversations"), "checkpoint": "checkpoint_sft"},
    ),
    Node("generations_base", BASE_GENERATIONS, _same("catalog", "conversations"), _no_base),
    Node(
        "generations_sft",
        GENERATIONS,
        {**_same("conversations"), "checkpoint": "checkpoint_sft"},
    ),
    Node(
        "generations_rank_grpo",
        GENERATIONS,
        {**_same("conversations"), "checkpoint": "checkpoint_rank_grpo"},
    ),
    Node("metrics", METRICS, _same("catalog", "conversations", *_LISTS, *_MODELS)),
    Node(
        "report",
        REPORT,
        _same(
            "metrics",
            "catalog",
            "conversations",
            "quarantine",
            *_LISTS,
            "adjustment",
            "checkpoint_sft",
            "checkpoint_rank_grpo",
            *_MODELS,
        ),
    ),
)


def _remapped_by(**weights: float) -> Callable[[Config], Config]:
    def adapt(config: Config) -> Config:
        return config.model_copy(update={"remap": config.remap.model_copy(update=weights)})

    return adapt


_LADDER = ("teacher_lists", "candidates", "judgments", "adjustment")
_REMAPS = _same("catalog", "conversations", "teacher_lists", "similarity_basis")

EXPERIMENTS: tuple[Node, ...] = (
    Node(
        "candidates_linked",
        CANDIDATES,
        _REMAPS,
        _provided,
        adapt=_remapped_by(similarity_weight=0.0, conversation_weight=0.0),
    ),
    Node(
        "candidates_similar",
        CANDIDATES,
        _REMAPS,
        _provided,
        adapt=_remapped_by(conversation_weight=0.0),
    ),
    Node(
        "ablation",
        ABLATION,
        _same("catalog", "conversations", "candidates_linked", "candidates_similar", *_LADDER),
        _provided,
    ),
    Node(
        "search",
        SEARCH,
        _same("catalog", "conversations", "teacher_lists", "similarity_basis", "judgments"),
        _provided,
    ),
)
"""What `ablate-sft-data` makes beside the pipeline."""

NODES: dict[str, Node] = {node.name: node for node in (*PIPELINE, *EXPERIMENTS)}


def of_stage(stage: StageName) -> tuple[Node, ...]:
    """The nodes of a stage, in order."""
    return tuple(node for node in PIPELINE if node.stage == stage)
