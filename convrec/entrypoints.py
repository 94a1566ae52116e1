"""What an installed convrec starts with: the command, and each flow by its name.

The console script calls `main`. A Prefect deployment anywhere on the machine names a flow as
`convrec.entrypoints.pipeline` (docs/guides/install.md). Both put the project's folder first on the
import path, so that `flows` and `tasks` are convrec's own in this process, whatever else has these
names. The library does not depend on the flows; they are named by text here, as entry points are.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from convrec.errors import ConfigError
from convrec.utils.project import ROOT

FLOWS = (
    "pipeline",
    "build_sft_data",
    "train",
    "evaluate",
    "on_catalog_change",
    "check_catalogs",
    "ablate_sft_data",
    "compare_training",
    "retention",
)
"""The flows, each the only one of the module of its name."""


def main() -> None:
    """Run the command line."""
    _load("flows.__main__").main()


def __getattr__(name: str) -> Any:
    """The flow of this name, for a deployment's entrypoint."""
    if name not in FLOWS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_load(f"flows.{name}"), name)


def _load(module: str) -> Any:
    """A module of the project's flows. Raises ConfigError if other flows are imported already."""
    folder = str(ROOT)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    for package in ("flows", "tasks"):
        other = getattr(sys.modules.get(package), "__file__", None)
        if other is not None and not other.startswith(folder):
            raise ConfigError(
                f"this process has imported another package {package} ({other}), so convrec cannot "
                f"import its own; import the flow from convrec.entrypoints before {package}"
            )
    return import_module(module)
