"""Every error that convrec raises on purpose.

ConvrecError                 exit 1  something failed; the message is one sentence for a person
├── InputError               exit 2  a file, row or option that cannot be used
│   ├── ConfigError          exit 2  a profile or --set that is not allowed
│   └── CatalogError         exit 2  a catalog that lacks what every catalog needs
├── WarehouseError           exit 1  the DuckDB warehouse cannot be opened, read or written
│   └── CommitError          exit 1  nothing was written, and the same may succeed again
├── EndpointError            exit 1  the LLM endpoint refused or could not be reached
│   └── TooManyFailures      exit 1  more requests failed than `llm.max_failures` allows
├── BudgetExceeded           exit 3  the next call would cross `llm.max_usd`
└── TrainingError            exit 1  a training step could not go on

A message names the value, what is allowed, and the next thing to do. None of them carries a key,
a token or the text of a post.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence


class ConvrecError(Exception):
    """Base of all expected failures; `exit_code` is what the command line ends with.

    Names and values from outside may stand in a message, so what no terminal shows becomes a space.

    `rows` are (row, reason) pairs of what could not be used, where the failure is about rows.
    `resume` is the command that goes on from here, once somebody knows it.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, rows: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__("".join(sign if sign.isprintable() else " " for sign in message))
        self.rows = tuple(rows)
        self.resume = ""


class InputError(ConvrecError):
    """A file, row or option that cannot be used as given."""

    exit_code = 2


class ConfigError(InputError):
    """A profile or an override with an unknown key or a value outside what is allowed."""


class CatalogError(InputError):
    """A catalog without the columns that every catalog needs, or with no usable row."""


class WarehouseError(ConvrecError):
    """The warehouse cannot be used: foreign, newer, locked, damaged, out of space, or gone."""


class CommitError(WarehouseError):
    """A block of reads or writes that lost its server or met another's; nothing was written."""


class EndpointError(ConvrecError):
    """The LLM endpoint refused for good, or could not be reached."""


class TooManyFailures(EndpointError):  # noqa: N818 - reads as the sentence it prints
    """More requests failed than the configured share."""


class BudgetExceeded(ConvrecError):  # noqa: N818 - reads as the sentence it prints
    """The next request would cross `llm.max_usd`; everything paid for so far is kept."""

    exit_code = 3


class TrainingError(ConvrecError):
    """Training cannot go on (out of memory, loss not finite, nothing to train on)."""


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk is to blame; libraries that are no Python hand on the words alone."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return (isinstance(error, OSError) and error.errno in full) or any(
        sign in str(error) for sign in ("No space left on device", "Disk quota exceeded")
    )
