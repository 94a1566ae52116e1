from __future__ import annotations

import subprocess
import sys

import pytest

HOLES = """
import torch
from convrec.models.hardware import KEPT_BYTES, FreedMemory, keep_freed_memory, _resident_bytes

keep_freed_memory()
freed, before = FreedMemory(), _resident_bytes()
freed.trim()  # after a batch without holes
blocks = [torch.ones(2_500_000) for _ in range(80)]  # 10 MB each
kept = blocks[1::2]
last = torch.ones(10)
del blocks
grown = _resident_bytes() - before
freed.trim()
assert grown > 1.5 * KEPT_BYTES, grown
assert _resident_bytes() - before < .6 * grown, _resident_bytes() - before
assert all(float(block.sum()) == 2_500_000 for block in kept)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc's malloc_trim")
def test_holes_between_tensors_are_returned_once_they_are_large() -> None:
    subprocess.run([sys.executable, "-c", HOLES], check=True)
