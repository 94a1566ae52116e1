"""pipeline: conversations become an evaluated checkpoint, all eight stages."""

from typing import Any

from prefect import flow

from flows.parameters import Overrides, Profile, Refresh, Until, run_name
from tasks.evaluate import evaluate
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run
from tasks.stages import build_data, check_training, run_stage
from tasks.summary import summarize


@flow(name="pipeline", flow_run_name=run_name, on_crashed=[crashed])
def pipeline(
    profile: Profile = "demo",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    until: Until = None,
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Run every stage, up to `until`; returns the summary that `convrec run --json` writes.

    Args:
        profile: A profile that ships (demo, demo-books, inspired-replay, local-llm, reddit-v2,
            redial, redial-smollm2, smollm2, paper-qwen2.5-0.5b, paper-llama-3.2-1b,
            paper-llama-3.2-3b), or the path of a .toml file.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        until: The last stage to run; empty runs all.
        refresh: Recompute from this stage on; stored responses are never bought again.
    """
    with Run(profile, overrides, until=until, refresh=refresh) as run:
        check_training(run)
        build_data(run)
        run_stage(run, "sft")
        run_stage(run, "rank_grpo")
        evaluate(run)
        lineage(run)
        summarize(run)
    return run.summary()
