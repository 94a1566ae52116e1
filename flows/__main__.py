"""The command `convrec`, and `python -m flows`: Ctrl-C during the imports is quiet, too."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line."""
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as after `convrec ... &`
    if not is_ignored:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    from flows.cli import main as run_command_line

    if not is_ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run_command_line()


if __name__ == "__main__":
    main()
