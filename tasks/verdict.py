"""What came out of a run, in sentences: how well its model ranks, or what it made."""

from __future__ import annotations

from convrec.stages.evaluate.evaluator import interval_unit
from convrec.stages.evaluate.report.tables import metric_tables
from convrec.stages.evaluate.report.verdict import evaluation_verdict
from tasks.run import Run


def verdict(run: Run) -> list[str]:
    """The sentences; none if the run made nothing that is the end of a stage."""
    if "metrics" in run.refs:
        return _evaluation(run)
    for name in ("checkpoint_rank_grpo", "checkpoint_sft"):
        if name in run.refs:
            return ["**A model is trained.** It is not measured yet: run `evaluate`."]
    if "demonstrations" in run.refs:
        return [f"**{run.refs['demonstrations'].rows:,} demonstrations** are ready to train on."]
    return []


def _evaluation(run: Run) -> list[str]:
    """The verdict of the HTML report."""
    tables = metric_tables(run.store.read(run.refs["metrics"].artifact_id))
    config = run.config
    found = evaluation_verdict(
        tables["pairs"], tables["systems"], config.rank_grpo.algorithm, interval_unit(config)
    )
    if found.headline is None:
        return [" ".join(found.notes)]
    headline = f"**{found.headline.text}**: {found.headline.difference}."
    others = "\n".join(f"- {finding}" for finding in found.others)
    return [part for part in (headline, others, " ".join(found.notes)) if part]
