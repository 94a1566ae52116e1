"""build-sft-data: conversations and a catalog become demonstrations."""

from typing import Any

from prefect import flow

from flows.parameters import Overrides, Profile, Refresh, run_name
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run
from tasks.stages import build_data
from tasks.summary import summarize


@flow(name="build-sft-data", flow_run_name=run_name, on_crashed=[crashed])
def build_sft_data(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Run the data stages; stored teacher responses and judgments are reused.

    Args:
        profile: A profile that ships (demo, demo-books, inspired-replay, local-llm, reddit-v2,
            redial, redial-smollm2, smollm2, paper-qwen2.5-0.5b, paper-llama-3.2-1b,
            paper-llama-3.2-3b), or the path of a .toml file.
        overrides: Keys to set on top of the profile, as {"seed": 7, "rank_grpo.steps": 40}.
        refresh: Recompute from this stage on; stored responses are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        build_data(run)
        lineage(run)
        summarize(run)
    return run.summary()
