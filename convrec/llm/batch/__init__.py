"""The Batch API: half the price, responses within a day, and no request submitted twice.

A batch goes through these states, recorded in the warehouse before each act:

    draft      requests are being added
    ready      complete; it may have been uploaded and created without our knowing
    submitted  the endpoint's id is known; from here on it is only polled
    ended      its responses are stored, and its requests are free again

A process that finds a batch before `submitted` first looks for it at the endpoint (the file by
name, the batch by metadata), so a crash between an act and its record repeats neither. Batches
that another run packed but did not submit are dissolved: that run may have had another budget. A
file lock, which the kernel releases when its owner dies, keeps two processes from submitting the
same batch.
"""

from convrec.llm.batch.run import (
    cancel_batch,
    collect_ended,
    release_batch,
    send_in_batches,
    wait_for_batches,
)
from convrec.llm.batch.store import BatchStore

__all__ = [
    "BatchStore",
    "cancel_batch",
    "collect_ended",
    "release_batch",
    "send_in_batches",
    "wait_for_batches",
]
