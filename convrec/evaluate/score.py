"""Score anyone's lists: JSONL in, metrics and rewards out, one bad row never stops the others.

A row holds `completion` (text, or chat messages of which the last by the assistant counts),
`seen_titles` (titles, or [title, year] pairs) and `groundtruth_with_release_year` ([title, year]
pairs, the year a number, a string or null). Other columns are ignored, except `context_id`: rows
that share one are resampled together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convrec.errors import InputError
from convrec.evaluate.batch import Batch, ListToJudge, Protocol, ranking_metrics
from convrec.evaluate.bootstrap import Bootstrap, Interval
from convrec.lists import parse_line
from convrec.relevance import Titled

_CHUNK = 5000
"""Rows judged together."""

Judge = Callable[[Sequence[ListToJudge]], Batch]


class BadRow(NamedTuple):
    """A row that could not be scored: its line in the file, from 1, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Score:
    """What a file of lists is worth; `metrics` holds the mean of each metric over its lists."""

    protocol: Protocol
    lists: int
    metrics: dict[str, Interval]
    bad: tuple[BadRow, ...]


class _Row(NamedTuple):
    line: int
    context: str
    asked: ListToJudge


def score_file(
    path: Path,
    catalog: Path,
    *,
    protocol: Protocol = "standard",
    per_list: Path | None = None,
    resamples: int = 1000,
    seed: int = 7,
    progress: Callable[[int], None] = lambda rows: None,
) -> Score:
    """Score every row of a JSONL file against a catalog file.

    `per_list` gets one JSON row a scored list, in input order, with its `line` in the input.
    `progress(rows)` is told how many rows have been read. Raises InputError where the file is no
    JSONL or has no usable row, CatalogError for a catalog that cannot be used.
    """
    judge = _judge(catalog, protocol)
    bad: list[BadRow] = []
    contexts: list[str] = []
    values: dict[str, list[NDArray[np.float64]]] = {}
    with _replacing(per_list) as out:
        rows = _rows(path, protocol, bad)
        while chunk := list(islice(rows, _CHUNK)):
            batch = judge([row.asked for row in chunk])
            metrics = ranking_metrics(batch)
            for name, found in {**metrics, **batch.rates}.items():
                values.setdefault(name, []).append(found)
            contexts += [row.context for row in chunk]
            if out is not None:
                _write(out, chunk, metrics, batch)
            progress(chunk[-1].line)
        if not contexts:
            raise InputError(_nothing(path, bad))
    table = np.column_stack([np.concatenate(parts) for parts in values.values()])
    intervals = Bootstrap(contexts, resamples=resamples, seed=seed).intervals(table)
    return Score(protocol, len(contexts), dict(zip(values, intervals, strict=True)), tuple(bad))


def _judge(catalog: Path, protocol: Protocol) -> Judge:
    from convrec.catalog.index import TitleIndex
    from convrec.catalog.load import load_catalog
    from convrec.evaluate.reference import judge_reference
    from convrec.evaluate.standard import judge_standard
    from convrec.evaluate.systems import has_years

    frame, _ = load_catalog(catalog)
    items = list(frame.select("item_id", "title", "year").iter_rows())
    if protocol == "reference":
        pairs = {(title, year) for _, title, year in items}
        return lambda lists: judge_reference(lists, pairs)
    index, years = TitleIndex(items), has_years(frame)
    return lambda lists: judge_standard(lists, index, years=years)


def _rows(path: Path, protocol: Protocol, bad: list[BadRow]) -> Iterator[_Row]:
    """The usable rows of the file; the others go to `bad`."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a JSONL file, one list a line")
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield _read_row(number, line, protocol)
                except ValueError as error:
                    bad.append(BadRow(number, str(error)))
    except UnicodeDecodeError:
        raise InputError(
            f"{path} is not UTF-8 text; give a JSONL file (pickles are never opened)"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None


def _read_row(number: int, line: str, protocol: Protocol) -> _Row:
    """One row, or ValueError with the reason."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    needed = ("completion", "seen_titles", "groundtruth_with_release_year")
    missing = [name for name in needed if name not in row]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}")
    truths = [_titled(x, "groundtruth_with_release_year") for x in _list(row, needed[2])]
    if not truths:
        raise ValueError("groundtruth_with_release_year is empty, so there is nothing to find")
    seen = [_seen(x, protocol) for x in _list(row, needed[1])]
    context = row.get("context_id")
    return _Row(
        number,
        f"line {number}" if context is None else f"context {context}",
        ListToJudge(_text(row["completion"]), seen, truths),
    )


def _text(completion: Any) -> str:
    """The text of a completion given as a string or as chat messages."""
    if isinstance(completion, str):
        return completion
    messages = [completion] if isinstance(completion, dict) else completion
    if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
        said = [m.get("content") for m in messages if m.get("role", "assistant") == "assistant"]
        if said and isinstance(said[-1], str):
            return said[-1]
    raise ValueError("completion is neither a string nor chat messages with an assistant's text")


def _list(row: dict[str, Any], name: str) -> list[Any]:
    value = row[name]
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")
    return value


def _seen(value: Any, protocol: Protocol) -> Titled:
    """A seen title; the published code compares the text as it stands."""
    if not isinstance(value, str):
        return _titled(value, "seen_titles")
    item = parse_line(value) if protocol == "standard" else None
    return item if item is not None else (value, None)


def _titled(value: Any, name: str) -> Titled:
    if isinstance(value, dict):
        value = [value.get("title"), value.get("year")]
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        raise ValueError(f"{name} holds {value!r:.60}, not a [title, year] pair")
    title, year = value
    if year is None or year == "":
        return title, None
    try:
        return title, int(year)
    except (TypeError, ValueError):
        raise ValueError(f"{name} gives the year {year!r:.20} of {title!r:.60}") from None


def _write(
    out: IO[str], rows: Sequence[_Row], metrics: dict[str, NDArray[np.float64]], batch: Batch
) -> None:
    from convrec.rank_grpo.rewards import exp_inf, log_rewards

    table = np.column_stack(list(metrics.values())).tolist()
    earned = batch.reward_relevance.tolist()
    for at, row in enumerate(rows):
        scored: dict[str, Any] = {"line": row.line, **dict(zip(metrics, table[at], strict=True))}
        scored["reward_exp_inf"] = exp_inf(earned[at])
        scored["reward_log"] = log_rewards(earned[at])
        out.write(json.dumps(scored) + "\n")


@contextmanager
def _replacing(path: Path | None) -> Iterator[IO[str] | None]:
    """A file that takes its name only when all of it is written; None for no path."""
    if path is None:
        yield None
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as out:
            yield out
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)


def _nothing(path: Path, bad: Sequence[BadRow]) -> str:
    needs = "rows hold completion, seen_titles and groundtruth_with_release_year"
    if not bad:
        return f"{path} is empty; give a JSONL file whose {needs}"
    first = bad[0]
    return f"{path} has no usable row ({len(bad)} bad; line {first.line}: {first.reason}); {needs}"
