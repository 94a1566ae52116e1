"""Garbage collection under Prefect: what is not needed is deleted and listed in an artifact."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec.artifacts import Store
from convrec.config import home
from convrec.operations.gc import Garbage, collect_garbage, find_garbage
from convrec.utils import markdown

MAX_ROWS = 200
"""Rows of each table of the artifact."""


@task(name="garbage", task_run_name="garbage", cache_policy=NO_CACHE, persist_result=False)
def run_gc(keep_runs: int, days: float, delete: bool) -> Garbage:
    """Find, or delete, what `convrec artifacts gc` would, and list it in the artifact `garbage`."""
    store = Store(home())
    garbage = (collect_garbage if delete else find_garbage)(store, keep_runs=keep_runs, days=days)
    create_markdown_artifact(
        garbage_page(garbage, deleted=delete),
        key="garbage",
        description="What is not needed any more",
    )
    return garbage


def garbage_page(garbage: Garbage, *, deleted: bool) -> str:
    """The markdown of the artifact."""
    counts = (
        f"{len(garbage.artifacts)} artifacts and {len(garbage.leftovers)} leftovers, "
        f"{garbage.bytes / 1e6:.1f} MB of files. {garbage.kept} artifacts are kept."
    )
    artifacts = [
        (one.artifact_id, f"{one.rows:,}", f"{one.created_at:%Y-%m-%d %H:%M}", megabytes(one.bytes))
        for one in garbage.artifacts[:MAX_ROWS]
    ]
    leftovers = [(one.path, one.why, megabytes(one.bytes)) for one in garbage.leftovers[:MAX_ROWS]]
    return "\n\n".join(
        [
            f"## {'Deleted' if deleted else 'Would be deleted'}",
            counts,
            markdown.escaped_table(("artifact", "rows", "created (UTC)", "MB of files"), artifacts),
            markdown.escaped_table(("leftover", "why", "MB"), leftovers),
        ]
    )


def megabytes(count: int) -> str:
    """Bytes as megabytes."""
    return f"{count / 1e6:.1f}"
