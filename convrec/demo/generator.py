"""The generators of the demo's posts, by the name of their world (`ingest.world`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from convrec.demo import posts, world
from convrec.demo.wishes import posts as wish_posts
from convrec.demo.wishes import world as wish_world

AnyWorldName = Literal[world.WorldName, wish_world.WishWorldName]


def generate_rows(seed: int, contexts: Mapping[str, int], name: AnyWorldName) -> list[Any]:
    """Raw rows for `contexts[split]` posts of each split, as the world's generator makes them."""
    if name == "film-wishes" or name == "book-wishes":
        return wish_posts.generate_rows(seed, contexts, name)
    return posts.generate_rows(seed, contexts, name)


def world_files(name: AnyWorldName) -> tuple[Path, ...]:
    """The files that describe a world."""
    if name == "film-wishes" or name == "book-wishes":
        return wish_world.world_files(name)
    return world.world_files(name)
