"""GPUs by name, and how many: `8xH100`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from convrec.errors import InputError

_KNOWN = Path(__file__).parent / "gpus.toml"


@dataclass(frozen=True)
class Machine:
    """`count` GPUs of one kind: bytes, FLOP a second in bf16 and bytes a second of each."""

    name: str
    count: int
    memory: float
    flops: float
    bandwidth: float


def machine(text: str) -> Machine:
    """The machine that a text as `8xH100`, or `H100` for one, names. Raises InputError."""
    known = tomllib.loads(_KNOWN.read_text(encoding="utf-8"))
    found = re.fullmatch(r"(?:([1-9]\d{0,3})\s*[x×])?\s*(\S+)", text.strip(), re.IGNORECASE)
    names = {name.upper(): name for name in known}
    name = names.get(found[2].upper()) if found else None
    if found is None or name is None:
        raise InputError(
            f"--gpus {text!r} is not known; give a number and one of {', '.join(known)}, as 8xH100"
        )
    gpu = known[name]
    return Machine(
        name, int(found[1] or 1), gpu["memory"] * 1e9, gpu["tflops"] * 1e12, gpu["bandwidth"] * 1e9
    )
