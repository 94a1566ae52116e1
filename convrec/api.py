"""The Python API, for notebooks and scripts: run to a stage, read artifacts, recommend, score.

    from convrec import Pipeline

    pipeline = Pipeline("demo", {"seed": 3})
    pipeline.run(until="adjust")
    pipeline.frame("demonstrations")

Nothing here needs Prefect. The warehouse is that of the commands (`CONVREC_HOME`), so artifacts and
responses are shared with `convrec run`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import ArtifactRef, Store
from convrec.catalog.selection import load_with_catalog, pin_version
from convrec.config import STAGES, Config, StageName, home
from convrec.errors import ConfigError, InputError
from convrec.metrics.scored_lists import EvaluationProtocol
from convrec.operations.local_run import LocalRun, MadeArtifact
from convrec.pipeline.graph import NODES
from convrec.pipeline.plan import make_plan
from convrec.serving.recommend import Recommendation
from convrec.serving.recommend import recommend as recommend_for
from convrec.stages.evaluate.score_file import Score, score_file
from convrec.utils.progress import Progress, no_progress

__all__ = ["Pipeline", "Recommendation", "Score"]

CHECKPOINTS = ("checkpoint_rank_grpo", "checkpoint_sft")
"""Nodes whose model `recommend` uses, the last trained first."""


class Pipeline:
    """One profile in one warehouse.

    Args:
        profile: Name of a profile, or the path of a .toml file.
        overrides: Settings to change, as {"seed": 3, "ingest.path": "data"}.
        warehouse: Folder of the warehouse; by default that of the commands.
        progress: Called with the work done, the total and a text while a stage runs.

    Raises ConfigError for an unknown profile, key or value, and CatalogError or InputError for data
    that do not exist.
    """

    def __init__(
        self,
        profile: str,
        overrides: Mapping[str, Any] | None = None,
        *,
        warehouse: str | Path | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.store = Store(Path(warehouse) if warehouse else home())
        self.config: Config = pin_version(load_with_catalog(profile, overrides), self.store)
        self.progress = progress
        self._refs: dict[str, ArtifactRef] = {}
        self._made: list[MadeArtifact] = []

    def plan(self) -> dict[str, Any]:
        """What `run` would do and cost, as `convrec plan --json` writes it; runs nothing."""
        return make_plan(self.config, self.store)

    def run(self, until: StageName = "evaluate", *, refresh: StageName | None = None) -> Pipeline:
        """Run the stages up to `until`; what is stored is taken, no response is bought twice.

        `refresh` recomputes from a stage on. Returns the pipeline itself. Raises ConvrecError with
        one sentence if a stage fails; a later call continues from what was made.
        """
        for stage in filter(None, (until, refresh)):
            if stage not in STAGES:
                raise ConfigError(f"{stage!r} is not a stage; the stages are {', '.join(STAGES)}")
        self._made.clear()
        run = LocalRun(
            self.config, self.store, self.progress, on_made=self._made.append, refs=self._refs
        )
        run.run(until, refresh)
        return self

    @property
    def artifacts(self) -> pl.DataFrame:
        """The artifacts of the last `run`: stage, name, artifact_id, rows, cached, seconds."""
        rows = [
            (m.node.stage, m.node.name, m.ref.artifact_id, m.ref.rows, m.cached, m.seconds)
            for m in self._made
        ]
        schema = {
            "stage": pl.String,
            "name": pl.String,
            "artifact_id": pl.String,
            "rows": pl.Int64,
            "cached": pl.Boolean,
            "seconds": pl.Float64,
        }
        return pl.DataFrame(rows, schema, orient="row")

    def frame(self, name: str, *columns: str) -> pl.DataFrame:
        """The rows of an artifact: all columns, or those named.

        `name` is a name in `artifacts`, such as `demonstrations`, or any artifact id or its
        beginning. Raises InputError if there is no such artifact.
        """
        return self.store.read(self._artifact_id(name), *columns)

    def figures(self, name: str) -> dict[str, Any]:
        """The figures that the header of an artifact has, such as counts and losses."""
        return dict(self.store.header(self._artifact_id(name)).figures)

    def metrics(self) -> pl.DataFrame:
        """Each metric of each system on the test split, with its interval, after a whole run."""
        rows = self.frame("metrics")
        of_all = rows.filter(protocol="standard").filter(
            pl.col("slice").is_null() & pl.col("versus").is_null()
        )
        return of_all.select("system", "metric", "value", "low", "high")

    def recommend(
        self, text: str, *, n: int | None = None, checkpoint: str | None = None
    ) -> Recommendation:
        """`n` different items of the catalog for a text, best first, none named in the text.

        `checkpoint` is a name or an artifact id; by default the model that was trained last.
        """
        trained = next((name for name in CHECKPOINTS if name in self._refs), None)
        name = checkpoint or trained
        if name is None:
            raise InputError(
                'no model is trained in this pipeline; call run(until="sft") first, or give '
                "checkpoint an artifact id"
            )
        return recommend_for(self.store, self._artifact_id(name), text, n=n)

    def score(
        self,
        lists: str | Path | Iterable[Mapping[str, Any]],
        catalog: str | Path,
        *,
        protocol: EvaluationProtocol = "standard",
    ) -> Score:
        """Metrics of lists of any system, in the line format of the profile.

        `lists` is a JSONL file, or rows with `completion`, `seen_titles` and
        `groundtruth_with_release_year`; `catalog` is a CSV or Parquet file.
        """
        if isinstance(lists, str | Path):
            return score_file(Path(lists), Path(catalog), protocol=protocol, config=self.config)
        with tempfile.TemporaryDirectory(prefix="convrec-score-") as folder:
            path = Path(folder) / "lists.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in lists), encoding="utf-8")
            return score_file(path, Path(catalog), protocol=protocol, config=self.config)

    def _artifact_id(self, name: str) -> str:
        if name in self._refs:
            return self._refs[name].artifact_id
        if name in NODES:
            stage = NODES[name].stage
            raise InputError(
                f"{name} is not made yet; call run(until={stage!r}) first"
                + (f"; made: {', '.join(self._refs)}" if self._refs else "")
            )
        return self.store.full_id(name)
