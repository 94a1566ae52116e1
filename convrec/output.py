"""Machine-readable output: the `--json FILE|-` that stands beside every table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from convrec.errors import InputError

JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the same as JSON to this file; - for stdout.")
]


def write_json(value: Any, path: Path) -> None:
    """Write `value` as indented JSON to a file, or to stdout for `-`. Raises InputError."""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); give --json a path in a folder that can"
        ) from None


def takes_stdout(path: Path | None) -> bool:
    """Whether the JSON goes to stdout, so that nothing else may."""
    return str(path) == "-"
