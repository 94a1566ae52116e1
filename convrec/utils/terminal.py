"""Output that no terminal and no reader of a pipe can make fail."""

from __future__ import annotations

import contextlib
import io
import os
import sys

_ESCAPE = "backslashreplace"


def escape_unknown_characters() -> None:
    """Write characters that the encoding of the output lacks as escapes, such as `\\xe9`.

    An error handler that the user chose in PYTHONIOENCODING stays.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_ESCAPE)


def is_unicode_output() -> bool:
    """Whether the standard output can have every character."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "").startswith("utf")


def write_data(text: str) -> None:
    """Write CSV or the like to the standard output: as UTF-8 if its encoding lacks a character.

    An escape such as `\\xe9` would change the text for the program that reads the data.
    """
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream.errors == _ESCAPE:
        try:
            text.encode(stream.encoding)
        except UnicodeEncodeError:
            stream.reconfigure(encoding="utf-8", errors=_ESCAPE)
    stream.write(text)


def discard_if_closed() -> None:
    """Flush the output; if its reader is gone, as in `| head`, discard the rest quietly."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, AttributeError, ValueError):
            with contextlib.suppress(OSError, AttributeError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
