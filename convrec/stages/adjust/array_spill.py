"""Tuples of arrays that together exceed memory, kept on disk and iterated many times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

Arrays = tuple[np.ndarray, ...]


class ArraySpill:
    """A re-iterable sequence of array tuples, in input order.

    A single tuple stays in memory. Two or more are written to a temporary folder as they arrive
    and memory-mapped when read, so slicing one does not load all of it.
    """

    def __init__(self, blocks: Iterable[Arrays]) -> None:
        iterator = iter(blocks)
        self._in_memory = list(islice(iterator, 2))
        self._files: list[list[Path]] = []
        if len(self._in_memory) < 2:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="convrec-adjust-")
        for number, arrays in enumerate(chain(self._in_memory, iterator)):
            stem = Path(self._folder.name) / f"{number:06}"
            files = [stem.with_suffix(f".{position}.npy") for position in range(len(arrays))]
            for file, array in zip(files, arrays, strict=True):
                np.save(file, array)
            self._files.append(files)
        self._in_memory = []

    def __iter__(self) -> Iterator[Arrays]:
        yield from self._in_memory
        for files in self._files:
            yield tuple(np.lib.format.open_memmap(file, mode="r") for file in files)
