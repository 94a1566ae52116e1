"""The Batch API: half the price, answers within a day, and no request ever submitted twice.

    draft      rows are being written: which requests this batch will hold
    ready      the rows are complete; it may have been uploaded, and once the file's id is known
               created, and nobody heard of it
    submitted  the endpoint's id is known; from here on we only look
    ended      its answers are in the store, and its requests are free again

The intent is in the warehouse before anything is sent. Whoever finds a batch that is not submitted
asks the endpoint for it first (the file by its name, the batch by its metadata), so a crash between
an act and its record repeats neither. What another run meant to submit and did not is dissolved:
that run may have had another budget. A file lock, which dies with its owner, keeps two processes
from submitting one batch.
"""

from convrec.llm.batch.manage import cancel_batch, release_batch
from convrec.llm.batch.run import collect_ended, send_in_batches, wait_for_batches
from convrec.llm.batch.store import BatchStore

__all__ = [
    "BatchStore",
    "cancel_batch",
    "collect_ended",
    "release_batch",
    "send_in_batches",
    "wait_for_batches",
]
