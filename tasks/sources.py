"""sources: other data becomes demonstrations that the student learns from as well."""

from tasks.adjust import adjust
from tasks.ingest import ingest
from tasks.recommend import recommend
from tasks.reflect import reflect
from tasks.remap import remap
from tasks.run import Run


def sources(run: Run) -> None:
    """Take every source of the profile through the data stages."""
    for name in run.config.sources:
        part = run.source(name)
        ingest(part)
        recommend(part)
        remap(part)
        reflect(part)
        adjust(part)
        run.take(name, part)
