"""The section of the runner: where stages over contexts are computed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from convrec.config.base import Section


class Runner(Section):
    """Where stages over contexts are computed. No part of any artifact id."""

    kind: Literal["process", "dask"] = Field(
        "process", description="In the run's process, or on a Dask cluster (extra `dask`)."
    )
    partitions: int = Field(
        0, ge=0, description="Partitions of equal size; 0: one per 32,768 contexts."
    )
    address: str = Field(
        "",
        description="Address of the Dask scheduler, for example tcp://10.0.0.1:8786. "
        "Empty: start a local cluster.",
    )
    workers: int = Field(
        0, ge=0, description="Processes of the local cluster; 0: one per processor core."
    )
    folder: str = Field(
        "",
        description="Folder for uncommitted partitions, visible to all workers. "
        "Empty: a folder in CONVREC_HOME.",
    )
