"""compare: training algorithms, each at the learning rate that is best on validation."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec.pipeline.experiments.algorithms import (
    TrainingRun,
    best_learning_rate,
    comparison_node,
    plan_training_runs,
)
from convrec.pipeline.experiments.algorithms.tables import (
    comparison_markdown,
    convergence_svg,
    validation_curves,
)
from tasks.node_tasks import artifact_task
from tasks.run import Run


@task(name="comparison tables", cache_policy=NO_CACHE, persist_result=False)
def show_comparison(table: str, picture: str) -> None:
    """Write the table and the convergence plot as artifacts."""
    create_markdown_artifact(table, key="comparison", description="algorithms side by side")
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

    Returns, by algorithm, `learning_rates`, the chosen ones, and `trained`, the ids of the scored
    checkpoints.
    """
    chosen: dict[str, float] = {}
    trained: list[TrainingRun] = []
    ids: dict[str, list[str]] = {}
    tried = plan_training_runs(run.config, algorithms, learning_rates, seeds[0])
    for algorithm, candidates in tried.items():
        for candidate in candidates:
            _train(run, candidate)
        chosen[algorithm] = best_learning_rate(candidates, run.refs, run.store)
        for seed in seeds:
            training = TrainingRun(algorithm, chosen[algorithm], seed)
            _train(run, training)
            lists = training.generations_node()
            run.make(lists, artifact_task(lists))
            trained.append(training)
            ref = run.refs[training.checkpoint_node().name]
            ids.setdefault(algorithm, []).append(ref.artifact_id)
    node = comparison_node(trained)
    run.make(node, artifact_task(node))
    metrics = run.store.read(run.refs[node.name].artifact_id)
    show_comparison(
        comparison_markdown(metrics, chosen), convergence_svg(validation_curves(run.store, ids))
    )
    return {"learning_rates": chosen, "trained": ids}


def _train(run: Run, training: TrainingRun) -> None:
    node = training.checkpoint_node()
    if node.name not in run.refs:
        run.make(node, artifact_task(node, tags=["training"]))
