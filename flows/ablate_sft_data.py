"""ablate-sft-data: what each part of Remap–Reflect–Adjust is worth on this data."""

from typing import Any

from prefect import flow

from flows.parameters import Overrides, Profile, Refresh, run_name
from tasks.ablate import ablate
from tasks.failure import crashed
from tasks.lineage import lineage
from tasks.run import Run
from tasks.stages import run_data_stages
from tasks.summary import summarize


@flow(name="ablate-sft-data", flow_run_name=run_name, on_crashed=[crashed])
def ablate_sft_data(
    profile: Profile = "reddit-v2",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters
    refresh: Refresh = None,
) -> dict[str, Any]:
    """Build the SFT data if necessary, score every part of it, and search its settings.

    Args:
        profile: A profile that ships (demo, demo-books, inspired-replay, local-llm, reddit-v2,
            redial, redial-smollm2, smollm2, paper-qwen2.5-0.5b, paper-llama-3.2-1b,
            paper-llama-3.2-3b), or the path of a .toml file.
        overrides: Keys to set on top of the profile, as {"seed": 7, "remap.keep": 60}.
        refresh: Recompute from this stage on; stored responses are never bought again.
    """
    with Run(profile, overrides, refresh=refresh) as run:
        run_data_stages(run)
        ablate(run)
        lineage(run)
        summarize(run)
    return run.summary()
