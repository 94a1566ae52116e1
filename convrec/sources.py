"""Sources: other data whose demonstrations a profile's student learns from.

A profile may have `[sources.NAME.ingest]`, `[sources.NAME.recommend]` and so on. A source is the
same configuration with these settings in place: its conversations become demonstrations by the same
steps, under the ids that they would have in a profile of their own. SFT learns from the
demonstrations of all sources; Rank-GRPO and evaluation use the profile's own conversations, whose
teacher is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convrec.errors import ConfigError

if TYPE_CHECKING:
    from convrec.config import Config

ROLES = ("conversations", "demonstrations")
"""What SFT reads of every source."""


def source_config(config: Config, name: str) -> Config:
    """The configuration that makes the demonstrations of a source.

    Raises ConfigError where a setting cannot be used, or where the source would write its lists in
    another form than the profile's.
    """
    from pydantic import ValidationError

    values = config.model_dump(exclude={"sources"})
    for section, changed in config.sources[name].items():
        values[section] = {**values[section], **changed}
    try:
        made = type(config).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("sources", name, *map(str, first["loc"])))
        raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    if made.line_format is not config.line_format:
        raise ConfigError(
            f"sources.{name}.recommend.years differs from the profile's recommend.years, so that "
            "the student would learn two kinds of line; set both alike"
        )
    return made


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
