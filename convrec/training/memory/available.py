"""Memory that a training can still take on its device: free memory of the GPU or of the machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def available_memory() -> float:
    """Bytes that this process can still allocate where it trains, without what others hold.

    On a GPU, what torch already reserved in this process counts as available. On a CPU, a limit of
    the container (cgroup 1 or 2) counts like the machine's.
    """
    import torch

    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return float(free + torch.cuda.memory_reserved())
    import psutil  # type: ignore[import-untyped]

    return float(min([psutil.virtual_memory().available, *_container_limits(CGROUPS)]))


def _container_limits(root: Path) -> list[float]:
    """Bytes that are left in each control group of this process that has a limit."""
    limits = []
    for folder, limit_file, usage_file in _memory_groups(root):
        with suppress(OSError, ValueError):  # "max" is no number
            limit = float((folder / limit_file).read_text(encoding="ascii"))
            usage = float((folder / usage_file).read_text(encoding="ascii"))
            limits.append(limit - usage + _reclaimable(folder))
    return limits


def _memory_groups(root: Path) -> list[tuple[Path, str, str]]:
    """The folders of this process's control groups, with the names of limit and usage."""
    groups = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                base, names = root, ("memory.max", "memory.current")
            elif "memory" in controllers.split(","):
                base = root / "memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            else:
                continue
            inside = Path(path.strip("/"))
            groups += [(base / part, *names) for part in (inside, *inside.parents)]
    return groups


def _reclaimable(folder: Path) -> float:
    """Bytes of cached files, which the kernel drops when memory is needed."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return float(value)
    return 0.0
