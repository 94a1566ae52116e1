"""Sources: other data whose demonstrations a profile's student learns from.

A profile may have `[sources.NAME.ingest]`, `[sources.NAME.recommend]` and so on. A source is the
profile's configuration with these settings replaced. Its artifacts have the ids that they would
have in a profile of their own. SFT learns from the demonstrations of all sources; Rank-GRPO and
evaluation use the profile's own conversations, for which the teacher is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convrec.config import Config


ROLES = ("conversations", "demonstrations")
"""What SFT reads of every source."""


def source_roles(config: Config) -> dict[str, str]:
    """Role → name of what every source brings: `NAME:conversations`, `NAME:demonstrations`."""
    names = [f"{source}:{role}" for source in config.sources for role in ROLES]
    return {name: name for name in names}


def adopted(source: str, refs: Mapping[str, Any]) -> dict[str, Any]:
    """What a run takes over from a source's, under the names of `source_roles`."""
    return {f"{source}:{role}": refs[role] for role in ROLES if role in refs}


def no_teacher(config: Config) -> str:
    """Why a profile with sources has no lists of its own; empty for one without."""
    names = ", ".join(config.sources)
    return f"sources: the demonstrations are those of {names}" if names else ""
