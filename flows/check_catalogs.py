"""check-catalogs: catalog files that were replaced by hand are published, on a schedule."""

from typing import Any

from prefect import flow

from tasks.watch_catalogs import check


@flow(name="check-catalogs", flow_run_name="check-catalogs")
def check_catalogs(dry_run: bool = False) -> list[dict[str, Any]]:
    """Publish every watched catalog file that is another than before, and announce it.

    A file is watched where a profile in profiles/ names its catalog (`catalog:NAME`) and has been
    built or published before. One that shrank is not published; the run fails and says so.

    Args:
        dry_run: Only say what would be published.
    """
    return check(dry_run)
