"""compare: training algorithms, each at the learning rate that is best on validation."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect import task
from prefect.artifacts import create_image_artifact
from prefect.cache_policies import NO_CACHE

from convrec.pipeline.experiments.algorithms import (
    TrainingRun,
    best_learning_rate,
    comparison_node,
    plan_training_runs,
    with_steps,
)
from convrec.pipeline.experiments.algorithms.tables import (
    comparison_json,
    comparison_markdown,
    convergence_svg,
    validation_curves,
)
from tasks.node_tasks import artifact_task
from tasks.publish import publish_markdown
from tasks.run import Run


@task(name="comparison tables", cache_policy=NO_CACHE, persist_result=False)
def show_comparison(table: str, picture: str) -> None:
    """Write the table and the convergence plot as artifacts."""
    publish_markdown(table, "comparison", "Algorithms side by side")
    data = base64.b64encode(picture.encode()).decode()
    create_image_artifact(
        f"data:image/svg+xml;base64,{data}",
        key="convergence",
        description="NDCG@20 on validation by step, mean over seeds",
    )


def compare(
    run: Run,
    algorithms: Sequence[str],
    seeds: Sequence[int],
    learning_rates: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """Choose each algorithm's learning rate on validation with the first seed; train and score.

    Continued SFT comes last: it trains for as long as the first algorithm did. Returns, by
    algorithm, `learning_rates`, the chosen ones, and `trained`, the ids of the scored checkpoints;
    and `comparison`, the rows of the metrics artifact without those by rank.
    """
    chosen: dict[str, float] = {}
    trained: dict[str, list[TrainingRun]] = {}
    tried = plan_training_runs(run.config, algorithms, learning_rates, seeds[0])
    for algorithm in sorted(tried, key=lambda name: tried[name][0].is_sft):
        candidates = tried[algorithm]
        if candidates[0].is_sft:
            first = next(iter(trained.values()))[0]
            checkpoint = run.refs[first.checkpoint_node().name]
            candidates = with_steps(candidates, checkpoint, run.refs["checkpoint_sft"], run.store)
        for candidate in candidates:
            _train(run, candidate)
        chosen[algorithm] = best_learning_rate(candidates, run.refs, run.store)
        best = replace(candidates[0], learning_rate=chosen[algorithm])
        trained[algorithm] = [replace(best, seed=seed) for seed in seeds]
        for training in trained[algorithm]:
            _train(run, training)
            lists = training.generations_node()
            run.make(lists, artifact_task(lists))
    node = comparison_node(training for name in algorithms for training in trained[name])
    run.make(node, artifact_task(node))
    metrics = run.store.read(run.refs[node.name].artifact_id)
    chosen = {name: chosen[name] for name in algorithms}
    ids = {
        name: [run.refs[training.checkpoint_node().name].artifact_id for training in trained[name]]
        for name in algorithms
    }
    show_comparison(
        comparison_markdown(metrics, chosen), convergence_svg(validation_curves(run.store, ids))
    )
    return {"learning_rates": chosen, "trained": ids, "comparison": comparison_json(metrics)}


def _train(run: Run, training: TrainingRun) -> None:
    for node in (training.start, training.checkpoint_node()):
        if node.name not in run.refs:
            run.make(node, artifact_task(node, tags=["training"]))
