"""compare-training: which algorithm trains the best student on this data."""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from convrec.config import DATA_STAGES
from convrec.pipeline.graph import NODES
from flows.parameters import Overrides, Profile, Refresh, run_name
from tasks.compare import compare
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run
from tasks.stages import TASKS
from tasks.summary import summarize

Algorithms = Annotated[list[str], Field(min_length=1, examples=[["rank_grpo", "grpo", "gspo"]])]
Seeds = Annotated[list[int], Field(min_length=1, examples=[[7, 8, 9]])]
Rates = Annotated[dict[str, list[float]], Field(examples=[{"grpo": [2e-4, 4e-4]}])]

ALL_ALGORITHMS = [
    "rank_grpo",
    "rank_grpo:log",
    "rank_grpo:published",
    "grpo",
    "gspo",
    "dr_grpo",
    "dapo",
    "sft:continued",
]


@flow(name="compare-training", flow_run_name=run_name, on_crashed=[crashed])
def compare_training(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    algorithms: Algorithms = ALL_ALGORITHMS,
    seeds: Seeds = [7, 8, 9],  # noqa: B006
    learning_rates: Rates = {},  # noqa: B006
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Train every algorithm from the stored SFT checkpoint, at equal samples, and score them.

    Args:
        profile: A profile that ships (demo, demo-books, inspired-replay, local-llm, reddit-v2,
            redial, redial-smollm2, smollm2, paper-qwen2.5-0.5b, paper-llama-3.2-1b,
            paper-llama-3.2-3b), or the path of a .toml file.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        algorithms: rank_grpo, grpo, gspo, dr_grpo, dapo, or sft:continued, each with a variant
            such as rank_grpo:log, rank_grpo:published, rank_grpo:early=-1,exact=0 or grpo:plain.
        seeds: Seeds of training; learning rates are chosen with the first one.
        learning_rates: Those to try by algorithm; by default half, once and twice the profile's.
        refresh: Recompute from this stage on; stored responses are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        run.require_stored(*DATA_STAGES, "sft")
        run.make(NODES["generations_sft"], TASKS["generations_sft"])
        comparison = compare(run, algorithms, seeds, learning_rates)
        lineage(run)
        summarize(run)
    return {**run.summary(), **comparison}
