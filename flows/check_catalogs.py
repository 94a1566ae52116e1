"""check-catalogs: publishes, on a schedule, catalog files that were replaced by hand."""

from typing import Any

from prefect import flow

from flows.parameters import named
from tasks.watch_catalogs import publish_changed_files


@flow(name="check-catalogs", flow_run_name=named("check-catalogs"))
def check_catalogs(dry_run: bool = False) -> list[dict[str, Any]]:
    """Publish and announce every watched catalog file that changed.

    A file is watched if a profile in profiles/ names its catalog (`catalog:NAME`) and the catalog
    has been built or published before. A file that shrank is not published, and the run fails.

    Args:
        dry_run: Only report what would be published.
    """
    return publish_changed_files(dry_run)
