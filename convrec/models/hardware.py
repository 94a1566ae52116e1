"""What this machine's processors and memory allow, and how training uses them."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import torch

SMALL_MODEL = 20_000_000
"""Parameters below which one thread samples as fast as two, and bf16 costs more than it saves."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt."""

KEPT_BYTES = 500_000_000
"""Growth of a process in training, beyond what a batch needs, at which memory is returned."""

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
"""Compiled kernels that oneDNN keeps. Keys and values grow with each sampled token, so that most
kernels of attention are used once; 1,024 of them, its default, take .2 GB."""

_ON_LINUX = sys.platform == "linux"


def is_small(model: Any) -> bool:
    """Whether a decode step of the model is bound by operator overhead, not by arithmetic."""
    return int(model.num_parameters()) < SMALL_MODEL


def has_bf16() -> bool:
    """Whether the training device computes in bf16 (a GPU with it, AVX512-BF16, or AMX)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    cpu: Any = torch.cpu
    return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()


def computes_in_bf16(model: Any, allowed: bool) -> bool:
    """Whether Rank-GRPO trains the model in bf16, and so whether it is sampled in bf16.

    `allowed` is `model.bf16`.
    """
    return allowed and has_bf16() and not is_small(model)


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next tensor instead of returning it.

    A training step frees and allocates the same blocks of hundreds of megabytes repeatedly. Mapping
    their pages again took a quarter of a Rank-GRPO step on CPU. No effect without glibc's mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if _ON_LINUX else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Return the memory that `keep_freed_memory` keeps. No effect without glibc's malloc_trim."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _ON_LINUX else None
    if malloc_trim is not None:
        malloc_trim(0)


class FreedMemory:
    """Limits the freed memory that `keep_freed_memory` keeps; call `trim` after each batch.

    Rows of many lengths leave holes in it that no later tensor fits: SmolLM2-135M with adapters
    grew by .5 GB in each step of `sft`.
    """

    def __init__(self) -> None:
        self._needed = 0  # resident bytes after a batch that began without holes
        self._has_holes = False

    def trim(self) -> None:
        """Return freed memory if the process has grown by KEPT_BYTES beyond what a batch needs."""
        resident = _resident_bytes()
        if not self._has_holes:
            self._needed = max(self._needed, resident)
            self._has_holes = True
        elif resident > self._needed + KEPT_BYTES:
            return_freed_memory()
            self._has_holes = False


def _resident_bytes() -> int:
    if not _ON_LINUX:
        return 0
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python means that memory ran out, on a GPU or the CPU."""
    text = str(error)
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "out of memory" in text
        or "can't allocate memory" in text
    )
