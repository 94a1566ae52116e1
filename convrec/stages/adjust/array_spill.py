"""Arrays that are too many for memory: blocks of them on disk, read again and again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Arrays = tuple[np.ndarray, ...]


class ArraySpill:
    """Tuples of arrays in order. A single one stays in memory; more are written as they come.

    What is read from disk is mapped, so it can be sliced without reading the rest.
    """

    def __init__(self, made: Iterable[Arrays]) -> None:
        import numpy as np

        left = iter(made)
        self._kept = list(islice(left, 2))
        self._files: list[list[Path]] = []
        if len(self._kept) < 2:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="convrec-adjust-")
        for number, arrays in enumerate(chain(self._kept, left)):
            stem = Path(self._folder.name) / f"{number:06}"
            files = [stem.with_suffix(f".{place}.npy") for place in range(len(arrays))]
            for file, array in zip(files, arrays, strict=True):
                np.save(file, array)
            self._files.append(files)
        self._kept = []

    def __iter__(self) -> Iterator[Arrays]:
        import numpy as np

        yield from self._kept
        for files in self._files:
            yield tuple(np.lib.format.open_memmap(file, mode="r") for file in files)
