"""Which modules a piece of code imports, checked in a new process."""

from __future__ import annotations

import subprocess
import sys


def loaded_modules(code: str, *names: str) -> set[str]:
    """Run `code` in a new process; return which of `names` are loaded afterwards."""
    script = f"import sys; {code}; print(*({set(names)!r} & set(sys.modules)))"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(result.stdout.split("\n")[-2].split())  # after the output of `code`
