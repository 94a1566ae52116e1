"""Switches off the telemetry of every library that convrec uses.

`convrec/__init__.py` calls it, so it acts before another library is imported, in commands, flows,
training processes and servers alike. A variable that is set already wins.
"""

from __future__ import annotations

import os

SWITCHES = {
    "DO_NOT_TRACK": "1",  # Prefect's SDK, Hugging Face, vLLM and others
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # transformers, TRL, datasets, sentence-transformers
    "DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",  # comes with vLLM
    "MLFLOW_DISABLE_TELEMETRY": "true",  # trackers of train.report_to
    "WANDB_ERROR_REPORTING": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",  # comes with Trackio
}
"""Environment variables and the values that switch telemetry off."""


def disable_telemetry() -> None:
    """Set the variables that are not set. Child processes inherit them."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
