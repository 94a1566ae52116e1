"""Every error that convrec raises on purpose, with its exit code.

ConvrecError                 1  base of all expected failures
├── InputError               2  a file, row or option is invalid
│   ├── ConfigError          2  a profile or --set has an unknown key or an invalid value
│   └── CatalogError         2  a catalog has a missing column or no usable row
├── WarehouseError           1  the warehouse cannot be opened, read or written
│   └── CommitError          1  nothing was written; the same block may be tried again
├── EndpointError            1  the LLM endpoint refused or could not be reached
│   └── TooManyFailures      1  more requests failed than `llm.max_failures` allows
├── BudgetExceeded           3  the next request would exceed `llm.max_usd`
└── TrainingError            1  training cannot continue

A message is one sentence that names the invalid value, what is allowed, and what to do next. No
message contains an API key, a token or the text of a post.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence


class ConvrecError(Exception):
    """Base of all expected failures; `exit_code` is the exit code of the command.

    A message may contain untrusted names and values, so unprintable characters become spaces.
    `rows` are (row, reason) pairs of unusable rows, if the failure is about rows. `resume` is the
    command that resumes the run, set by the code that knows it.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, rows: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__("".join(c if c.isprintable() else " " for c in message))
        self.rows = tuple(rows)
        self.resume = ""


class InputError(ConvrecError):
    """A file, row or option is invalid."""

    exit_code = 2


class ConfigError(InputError):
    """A profile or an override has an unknown key or an invalid value."""


class CatalogError(InputError):
    """A catalog has a missing column or no usable row."""


class WarehouseError(ConvrecError):
    """The warehouse is missing, damaged, locked, newer than this version, or its disk is full."""


class CommitError(WarehouseError):
    """A transaction lost its server or conflicted with another; nothing was written."""


class EndpointError(ConvrecError):
    """The LLM endpoint refused permanently or could not be reached."""


class TooManyFailures(EndpointError):  # noqa: N818 - reads as the sentence it prints
    """More requests failed than `llm.max_failures` allows."""


class BudgetExceeded(ConvrecError):  # noqa: N818 - reads as the sentence it prints
    """The next request would exceed `llm.max_usd`; everything paid for is kept."""

    exit_code = 3


class TrainingError(ConvrecError):
    """Training cannot continue: out of memory, a loss that is not finite, or no training data."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the cause is a full disk. Libraries in other languages only pass on the text."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return (isinstance(error, OSError) and error.errno in full) or any(
        text in str(error) for text in ("No space left on device", "Disk quota exceeded")
    )
