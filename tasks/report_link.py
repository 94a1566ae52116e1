"""Where the HTML report of a run opens: a path of `convrec ui`, and the file itself."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from prefect.settings import get_current_settings

from convrec.utils.markdown import code_block

REPORT_PATH = "/convrec/reports/"
"""The path of `convrec ui` below which reports are."""


def report_link(artifact_id: str) -> str:
    """A link to a report that works on the pages of `convrec ui`; empty on Prefect Cloud."""
    api = str(get_current_settings().api.url or "")
    return "" if "prefect.cloud" in api else f"{REPORT_PATH}{artifact_id}"


def open_command(path: Path) -> str:
    """The command that opens a report in a browser of the machine that has it."""
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    return shlex.join([opener, str(path)])


def report_page(artifact_id: str, path: Path) -> str:
    """Markdown that leads to a report: the link, and the command for its machine."""
    link = report_link(artifact_id)
    command = code_block(open_command(path))
    if not link:
        return f"The report is a file. On the machine that has it:\n\n{command}"
    return (
        f"[**Open the report**]({link})\n\nThe link works if `make ui` or `convrec ui` serves this "
        f"page, with the warehouse that has the report. Otherwise, on the machine that has it:\n\n"
        f"{command}"
    )
