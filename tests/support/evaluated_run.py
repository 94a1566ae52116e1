"""A small invented warehouse with an artifact of every stage, up to the generated lists."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import polars as pl

from convrec.artifacts import ArtifactRef, ArtifactSpec, StepResult, Store
from convrec.artifacts.tables import KINDS
from convrec.config import Config
from convrec.models.manifest import serving_settings
from convrec.stages.base import StepContext
from convrec.stages.evaluate import METRICS
from convrec.titles.line_format import format_line

POST = 'Loved <script>alert("x")</script> and "><img src=x onerror=alert(1)> last night'
N = 10
ITEMS = [(f"i{k}", f"Film {k}", 1960 + k) for k in range(60)]
CONFIG = Config.model_validate(
    {
        "profile": "made-up",
        "list_length": N,
        "recommend": {"model": "demo-teacher"},
        "reflect": {"model": "demo-judge", "top": 20},
        "evaluate": {"samples": 2, "bootstrap": 200},
    }
)


class EvaluatedRun:
    """A store, and the reference of each artifact by role."""

    def __init__(self, store: Store, config: Config = CONFIG) -> None:
        self.store = store
        self.config = config
        self.refs: dict[str, ArtifactRef] = {}

    def put(
        self,
        role: str,
        kind: str,
        rows: list[tuple[Any, ...]] | pl.DataFrame,
        *,
        stage: str = "ingest",
        curves: pl.DataFrame | None = None,
        figures: dict[str, Any] | None = None,
    ) -> ArtifactRef:
        """Store rows as the artifact of a role; its parents are all artifacts stored so far."""
        frame = (
            rows
            if isinstance(rows, pl.DataFrame)
            else pl.DataFrame(
                rows, schema=list(KINDS[kind]), orient="row", infer_schema_length=None
            )
        )
        parents = {name: ref.artifact_id for name, ref in self.refs.items()}
        spec = ArtifactSpec(kind=kind, stage=stage, version=1, parents=parents)
        scratch = self.store.make_scratch_folder() if kind in ("checkpoint", "report") else None
        built = StepResult(frame, figures or {}, curves=curves)
        self.refs[role] = self.store.put(spec, built, scratch=scratch, seconds=1.5)
        return self.refs[role]

    def put_metrics(self, *roles: str) -> pl.DataFrame:
        """Build and store the metrics of these roles, or of all; returns the rows."""
        built = METRICS.build(self.ctx(*roles))
        self.put("metrics", "metrics", built.rows, stage="evaluate", figures=built.figures)
        return built.rows

    def put_checkpoint_files(self, stage: str = "rank_grpo") -> str:
        """Replace the checkpoint of a stage by one with files and a manifest; returns its id."""
        lists = self.store.read(self.refs.pop(f"generations_{stage}").artifact_id)
        all_refs = self.refs
        parents = ("catalog", "conversations", "teacher_lists", "demonstrations")
        self.refs = {role: all_refs[role] for role in parents}
        manifest = json.dumps({"seed": 7, "serving": serving_settings(self.config)})
        row = (".", "org/base-model", 1234, manifest)
        ref = self.put(f"checkpoint_{stage}", "checkpoint", [row], stage=stage)
        folder = self.store.folder(ref.artifact_id)
        for name in ("config.json", "tokenizer.json", "model.safetensors", "metrics.jsonl"):
            (folder / name).write_text("{}", encoding="utf-8")
        self.refs = {**all_refs, f"checkpoint_{stage}": ref, "checkpoint": ref}
        self.put(f"generations_{stage}", "generations", lists, stage="evaluate")
        return ref.artifact_id

    def copy(self) -> EvaluatedRun:
        """The same store, with a separate dictionary of references."""
        copy = EvaluatedRun(self.store, self.config)
        copy.refs = dict(self.refs)
        return copy

    def ctx(self, *roles: str, scratch: bool = False) -> StepContext:
        """Return a context with these roles as parents, or all roles."""
        parents = {role: self.refs[role] for role in roles or self.refs}
        folder = self.store.make_scratch_folder() if scratch else None
        return StepContext(self.config, self.store, parents, scratch=folder)


def titled(*items: int) -> list[dict[str, Any]]:
    """Catalog items as conversations hold them."""
    return [{"title": ITEMS[k][1], "year": ITEMS[k][2]} for k in items]


def lines(items: list[int]) -> str:
    """A well-formed list."""
    return "\n".join(format_line(*ITEMS[k][1:]) for k in items)


def _curve(names: dict[str, Callable[[int], float]], steps: int) -> pl.DataFrame:
    rows = [(step, name, f(step)) for name, f in names.items() for step in range(1, steps + 1)]
    return pl.DataFrame(rows, schema=["step", "name", "value"], orient="row")


def make_evaluated_run(store: Store) -> EvaluatedRun:
    """Thirty test posts with two samples each; every system is better than the one before."""
    rng = random.Random(3)
    run = EvaluatedRun(store)
    run.put("catalog", "catalog", [(i, t, y, [], ["drama"], "") for i, t, y in ITEMS])
    conversations, teacher, candidates, demonstrations = [], [], [], []
    wanted: dict[str, list[int]] = {}
    for post in range(40):
        context = f"c{post}"
        split = "test" if post < 30 else "train"
        seen = rng.sample(range(60), 2)
        wanted[context] = rng.sample([k for k in range(60) if k not in seen], 4)
        for answer in range(2):
            truth = wanted[context][answer * 2 : answer * 2 + 2]
            titles = (titled(*seen), titled(*truth), None)
            conversations.append((f"{context}-{answer}", context, split, None, POST, None, *titles))
        for rank, k in enumerate(_ranked(rng, wanted[context], 0.2), start=1):
            title, year = (
                (f'Unknown "><img onerror=x> {k}', None) if rng.random() < 0.2 else ITEMS[k][1:]
            )
            teacher.append((context, rank, f"{rank}. {title}", title, year))
        for rank, k in enumerate([*seen, *_ranked(rng, wanted[context], 0.4, seen)], start=1):
            candidates.append((context, rank, f"i{k}", 1 / rank, 0.0, 0.0, 0.0, *[None] * 5))
        best = _ranked(rng, wanted[context], 0.6, seen)
        demonstrations.append((context, None, split, [f"i{k}" for k in best], lines(best)))
    run.put("conversations", "conversations", conversations)
    run.put(
        "quarantine",
        "quarantine",
        [("posts.jsonl", 7, "no ground truth", "<b>row</b>"), ("catalog.csv", 9, "year 201", "x")],
    )
    run.put("teacher_lists", "teacher_lists", teacher, stage="recommend")
    run.put("candidates", "candidates", candidates, stage="remap")
    judgments = [
        (context, item, 1.0, [1], [rank], score + (int(item[1:]) in wanted[context]))
        for context, rank, item, score, *_ in candidates
    ]
    run.put("judgments", "judgments", judgments, stage="reflect")
    run.put(
        "adjustment",
        "adjustment",
        [(i, 1.0, rng.gauss(0, 0.3)) for i, _, _ in ITEMS],
        stage="adjust",
    )
    run.put("demonstrations", "demonstrations", demonstrations, stage="adjust")
    curves = {
        "sft": _curve(
            {"loss": lambda s: 5 / s**0.5, "validation loss": lambda s: 5.5 / s**0.5}, 60
        ),
        "rank_grpo": _curve({"reward": lambda s: s / 80, "kl": lambda s: s / 900}, 40),
    }
    for stage, skill in (("sft", 0.5), ("rank_grpo", 0.9)):
        run.put(
            f"checkpoint_{stage}",
            "checkpoint",
            [("model", "tiny", 1000, "{}")],
            stage=stage,
            curves=curves[stage],
        )
        rows = [
            (stage, f"{c}-{answer}", c, draw, lines(_ranked(rng, wanted[c], skill)))
            for c in (f"c{post}" for post in range(30))
            for answer in range(2)
            for draw in range(2)
        ]
        run.put(f"generations_{stage}", "generations", rows, stage="evaluate")
    return run


def _ranked(
    rng: random.Random, wanted: list[int], skill: float, without: list[int] | None = None
) -> list[int]:
    """N different items, each wanted one of them with probability `skill`."""
    good = [k for k in wanted if rng.random() < skill]
    rest = [k for k in range(60) if k not in wanted and k not in (without or [])]
    items = good + rng.sample(rest, N - len(good))
    rng.shuffle(items)
    return items
