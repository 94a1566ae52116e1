"""Where the project is: the clone that convrec is installed from, or its copy in a wheel.

The project is the folder with `flows/`, `tasks/`, `profiles/` and `catalog/`. A wheel has it in
`convrec/project`, so that installing convrec adds one name to site-packages: a team's own packages
`flows` and `tasks` are neither overwritten nor hidden.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_IN_WHEEL = _PACKAGE / "project"

IS_CLONE = not _IN_WHEEL.is_dir()
"""Whether convrec runs from its repository, in contrast to an installed wheel."""

ROOT = _PACKAGE.parent if IS_CLONE else _IN_WHEEL
"""The folder with flows, tasks, profiles and the catalogs that ship."""


def working_folder() -> Path:
    """The folder that the warehouse and a user's own profiles are in.

    The clone, or with an installed wheel the current folder.
    """
    return ROOT if IS_CLONE else Path.cwd()
