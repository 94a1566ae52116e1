"""Make older-home.tar.xz, a home written by convrec at an earlier commit.

    git worktree add --detach /tmp/older 43e927c
    cp -r tests/golden /tmp/older/tests/
    cd /tmp/older && PYTHONPATH=. python -m tests.golden.make_older_home

The archive in this folder was made at commit 43e927c (0.1.0, schema 8), before modules moved and
classes were renamed. Do not regenerate it: it shows that the warehouses of users still open.
`test_older_home.py` repeats the same runs on it. It contains

- the demo (`SMALL`) with all eight stages, including Prefect's result records;
- Reddit-v2 up to adjust, with embeddings of an endpoint, on the files of `write_reddit`;
- the teacher stage through the Batch API, with a batch that has ended;
- two published versions of a catalog.

The home is built in a temporary folder; no artifact depends on its path.
"""

from __future__ import annotations

import io
import json
import lzma
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tests.golden.access import convrec
from tests.golden.worlds import CATALOG, SMALL, make_reddit, run, write_reddit

ARCHIVE = Path(__file__).with_name("older-home.tar.xz")
COMMIT = "43e927c"
VECTORS = {"remap.similarity": "openai"}
BATCH = {"recommend.source": "batch", "seed": 8, "recommend.model": "gpt-4o-mini"}


def make(folder: Path) -> None:
    """Run everything in `folder`/home and write the summaries of the runs to said.json."""
    home, files = folder / "home", write_reddit(folder / "files")
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        said = {
            "demo": run("demo", SMALL, home),
            "reddit": make_reddit(home, files, **VECTORS).summary,
            "batch": make_reddit(home, files, "--until", "recommend", **BATCH).summary,
        }
    catalog = folder / "catalog.csv"
    for text in (CATALOG, CATALOG.replace("Moon,2009", "Moonlight,2016")):
        catalog.write_text(text, encoding="utf-8")
        words = ("catalog", "publish", catalog, "--name", "older", "--yes")
        assert convrec(*words, home=home).code == 0
    (folder / "said.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


def pack(folder: Path) -> bytes:
    """The home and said.json as an archive without owners, times and modes."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path in sorted([folder / "said.json", *(folder / "home").rglob("*")]):
            if not path.is_file():
                continue
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return lzma.compress(data.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def unpack(folder: Path) -> Path:
    """Extract the archive: folder/home and folder/said.json. Returns the folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def main() -> None:
    """Make the archive."""
    folder = Path(tempfile.gettempdir()) / "older"
    folder.mkdir()
    try:
        make(folder)
        ARCHIVE.write_bytes(pack(folder))
    finally:
        shutil.rmtree(folder)
    print(f"{ARCHIVE.name}: {ARCHIVE.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
