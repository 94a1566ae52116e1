"""Links from the page of a training's run to the trackers that it reports to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convrec.config.paths import is_http_url
from convrec.training.tracking.run import read_states
from convrec.utils.markdown import code_block
from tasks.publish import publish_markdown


class TrackingLinks:
    """Publishes where a training can be watched, as soon as its process knows it.

    The process, here or launched, writes it to the working folder.
    """

    def __init__(self, key: str, working_folder: Path) -> None:
        self._key = key
        self._folder = working_folder
        self._shown: dict[str, str] = {}

    def update(self) -> None:
        """Show what the working folder says."""
        states = read_states(self._folder)
        self.show({name: state.location for name, state in states.items() if state.location})

    def show(self, locations: Mapping[str, str]) -> None:
        """Show trackers and their URLs or commands, unless they are shown."""
        if not locations or locations == self._shown:
            return
        self._shown = dict(locations)
        publish_markdown(tracking_markdown(locations), self._key, "Where this training is watched")


def tracking_markdown(locations: Mapping[str, str]) -> str:
    """A link for each tracker with a URL, a command for the others."""
    parts = []
    for name, location in locations.items():
        place = f"<{location}>" if is_http_url(location) else code_block(location)
        parts.append(f"**{name}**\n\n{place}")
    return "\n\n".join(parts)
