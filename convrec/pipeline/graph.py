"""The pipeline as data: which step makes which artifact, from which others, and when it is skipped.

Prefect runs the graph (`tasks/`), and `convrec.pipeline.node_state` answers what of it is stored. A
node's name is its role: other steps read the artifact under the same word.

To add a stage, add its `Node` here; `docs/extending.md` shows the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from convrec.artifacts import digest
from convrec.config import Config, StageName
from convrec.pipeline.experiments.ablation.ladder import ABLATION
from convrec.pipeline.experiments.ablation.search import SEARCH
from convrec.pipeline.sources import no_teacher, source_roles
from convrec.stages.adjust import ADJUSTMENT, DEMONSTRATIONS
from convrec.stages.base import Step
from convrec.stages.evaluate import (
    BASE_GENERATIONS,
    FREE_GENERATIONS,
    GENERATIONS,
    METRICS,
    REPORT,
    SERVED_GENERATIONS,
)
from convrec.stages.ingest import CATALOG, CONVERSATIONS, QUARANTINE
from convrec.stages.rank_grpo import RANK_GRPO
from convrec.stages.recommend import TEACHER_LISTS
from convrec.stages.reflect import JUDGMENTS
from convrec.stages.remap import (
    CANDIDATES,
    DESCRIPTIONS,
    SIMILARITY_BASIS,
    is_described,
    pin_name,
)
from convrec.stages.sft import SFT


def _never(config: Config) -> str:
    return ""


def _unchanged(config: Config) -> Config:
    return config


@dataclass(frozen=True)
class Node:
    """One artifact of a run.

    Attributes:
        reads: Role under which the step knows a parent → node that makes it.
        skipped: The reason why a configuration goes without the node, or an empty string.
        pin: Name of the pin that keeps an artifact in use until it is refreshed, or empty.
        adapt: Changes the run's configuration for this node alone.
        optional: Leave the node out of a run's summary when it is skipped.
    """

    name: str
    step: Step
    reads: Mapping[str, str] = field(default_factory=dict)
    skipped: Callable[[Config], str] = _never
    pin: Callable[[Config], str] = _never
    adapt: Callable[[Config], Config] = _unchanged
    optional: bool = False

    @property
    def stage(self) -> StageName:
        """The stage that the node belongs to."""
        return self.step.stage

    def inputs(self, config: Config) -> dict[str, str]:
        """Role → node of everything that the node reads; for SFT that includes the sources."""
        return {**self.reads, **(source_roles(config) if self.stage == "sft" else {})}


def _by_name(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _provided(config: Config) -> str:
    return no_teacher(config) or (
        "recommend.source=provided: the data brings its own lists"
        if config.recommend.source == "provided"
        else ""
    )


def _undescribed(config: Config) -> str:
    return _provided(config) or ("" if is_described(config) else "remap.describe=off")


def _unjudged(config: Config) -> str:
    return _provided(config) or ("" if config.reflect.enabled else "reflect.enabled=false")


def _unadjusted(config: Config) -> str:
    return _provided(config) or ("" if config.adjust.enabled else "adjust.enabled=false")


def _fit_pin(config: Config) -> str:
    """The name of the pin that holds this profile's w and b in the warehouse.

    It stays when the catalog or the conversations change. Files elsewhere, and other settings of
    the steps that the scores come from, get a fit of their own.
    """
    steps = [CONVERSATIONS, TEACHER_LISTS, CANDIDATES, ADJUSTMENT]
    if config.reflect.enabled:
        steps.append(JUDGMENTS)
    path = config.ingest.path
    source = path.partition("@")[0] if path.startswith("hub:") else path
    if is_described(config):
        steps.append(DESCRIPTIONS)
    settings = {step.kind: step.config(config) for step in steps}
    teacher = config.recommend.identity_settings(exclude={"source"})
    scores = {"source": source, "teacher": teacher, "basis": pin_name(config), **settings}
    return f"adjustment/{config.profile}/{digest(scores)[:8]}"


def _no_base(config: Config) -> str:
    tiny = config.model.base == "tiny"
    return "model.base=tiny knows nothing before it is trained" if tiny else ""


_LISTS = ("teacher_lists", "candidates", "judgments", "demonstrations")
_MODELS = (
    "generations_base",
    "generations_sft",
    "generations_rank_grpo",
    "generations_free",
    "generations_served",
)

_REMAPS = _by_name("catalog", "conversations", "teacher_lists", "descriptions", "similarity_basis")

PIPELINE: tuple[Node, ...] = (
    Node("catalog", CATALOG),
    Node("conversations", CONVERSATIONS),
    Node("quarantine", QUARANTINE),
    Node("teacher_lists", TEACHER_LISTS, _by_name("conversations"), _provided),
    Node(
        "descriptions",
        DESCRIPTIONS,
        _by_name("catalog", "teacher_lists"),
        _undescribed,
        optional=True,
    ),
    Node(
        "similarity_basis",
        SIMILARITY_BASIS,
        _by_name("catalog", "descriptions"),
        _provided,
        pin_name,
    ),
    Node(
        "candidates",
        CANDIDATES,
        _REMAPS,
        _provided,
    ),
    Node(
        "judgments",
        JUDGMENTS,
        _by_name("catalog", "conversations", "candidates", "descriptions"),
        _unjudged,
    ),
    Node(
        "adjustment",
        ADJUSTMENT,
        _by_name("catalog", "conversations", "candidates", "judgments"),
        _unadjusted,
        _fit_pin,
    ),
    Node(
        "demonstrations",
        DEMONSTRATIONS,
        _by_name("catalog", "conversations", "candidates", "judgments", "adjustment"),
        no_teacher,
    ),
    Node("checkpoint_sft", SFT, _by_name("conversations", "demonstrations")),
    Node(
        "checkpoint_rank_grpo",
        RANK_GRPO,
        {**_by_name("catalog", "conversations"), "checkpoint": "checkpoint_sft"},
    ),
    Node(
        "generations_base",
        BASE_GENERATIONS,
        _by_name("catalog", "conversations"),
        _no_base,
        optional=True,
    ),
    Node(
        "generations_sft",
        GENERATIONS,
        {**_by_name("conversations"), "checkpoint": "checkpoint_sft"},
    ),
    Node(
        "generations_rank_grpo",
        GENERATIONS,
        {**_by_name("conversations"), "checkpoint": "checkpoint_rank_grpo"},
    ),
    Node(
        "generations_free",
        FREE_GENERATIONS,
        {**_by_name("conversations"), "checkpoint": "checkpoint_rank_grpo"},
    ),
    Node(
        "generations_served",
        SERVED_GENERATIONS,
        {**_by_name("conversations"), "checkpoint": "checkpoint_rank_grpo"},
    ),
    Node("metrics", METRICS, _by_name("catalog", "conversations", *_LISTS, *_MODELS)),
    Node(
        "report",
        REPORT,
        _by_name(
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
        _by_name("catalog", "conversations", "candidates_linked", "candidates_similar", *_LADDER),
        _provided,
    ),
    Node(
        "search",
        SEARCH,
        {**_REMAPS, "judgments": "judgments"},
        _provided,
    ),
)
"""What `ablate-sft-data` makes in addition to the pipeline."""

NODES: dict[str, Node] = {node.name: node for node in (*PIPELINE, *EXPERIMENTS)}


def nodes_of(stage: StageName) -> tuple[Node, ...]:
    """The nodes of a stage, in order."""
    return tuple(node for node in PIPELINE if node.stage == stage)
