"""What a person may do with a batch: end it at the endpoint, or give up one that is lost."""

from __future__ import annotations

from contextlib import closing

from convrec.config import Config
from convrec.errors import InputError
from convrec.llm.answers import AnswerStore
from convrec.llm.batch.book import Book, Row
from convrec.llm.batch.control import Control
from convrec.llm.endpoint import api_key, open_endpoint

BY_US = "cancelled by us"


def cancel_batch(batch_key: str, config: Config, answers: AnswerStore) -> None:
    """Ask the endpoint to end a batch; the next run collects what it has done.

    Raises InputError for a batch that is unknown or has ended.
    """
    book, row = Book(answers.store), _open_row(batch_key, answers)
    with open_endpoint(config, answers.store.home / "demo-endpoint") as base_url:
        llm, key = config.llm, api_key(config, base_url)
        with closing(Control(base_url, key, llm.timeout, llm.max_attempts)) as control:
            batch_id = row.batch_id or control.find_batch(batch_key)
            if not batch_id:
                book.end(row, "never submitted")
                return
            # The note comes first: a run that waits for the batch may see its end before we return.
            book.note(row, batch_id=batch_id, state="submitted", note=BY_US)
            control.cancel(batch_id)


def release_batch(batch_key: str, answers: AnswerStore) -> None:
    """Give up a batch that its endpoint has lost: its requests may be sent again.

    Raises InputError for a batch that is unknown or has ended.
    """
    Book(answers.store).end(_open_row(batch_key, answers), "released by us")


def _open_row(batch_key: str, answers: AnswerStore) -> Row:
    row = Book(answers.store).row(batch_key)
    if row is None or row.state == "ended":
        raise InputError(f"no open batch {batch_key!r}; `convrec llm batches` shows them")
    return row
