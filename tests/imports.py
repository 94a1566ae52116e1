"""What a fresh process has loaded once it has run some code."""

from __future__ import annotations

import subprocess
import sys


def loaded(code: str, *names: str) -> set[str]:
    """Which of these modules are loaded after `code`, whose own output comes first."""
    script = f"import sys; {code}; print(*({set(names)!r} & set(sys.modules)))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())
