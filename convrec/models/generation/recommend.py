"""The lists that `convrec recommend` writes, one text or many at a time.

A list has N different lines of a catalog and none that the text names, by greedy choice, so the
same text always gets the same list. Serving and the system `served` of an evaluation share this
module: what is measured is what a user gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.generation.catalog_constraint import CatalogConstraint, generate_constrained
from convrec.models.generation.catalog_lines import CatalogLines
from convrec.models.generation.loop import TokenChoice
from convrec.models.generation.support import sampler_support
from convrec.models.load import Student
from convrec.models.prompts import encode_student_prompt, served_prompt
from convrec.titles.line_format import LineFormat
from convrec.titles.named_items import Item, NamedItems
from convrec.utils.progress import Progress, no_progress


class ServedCatalog:
    """The lines of a catalog, and which of them a text rules out because it names their items."""

    def __init__(self, items: Iterable[Item], line_format: LineFormat) -> None:
        self._items = list(items)
        line_format = line_format.for_titles(title for _, title, _ in self._items)
        self._ids_of: dict[str, set[str]] = {}
        for item_id, title, year in self._items:
            self._ids_of.setdefault(line_format.format(title, year), set()).add(item_id)
        self._line_of = {item: line for line, ids in self._ids_of.items() for item in ids}

    @property
    def lines(self) -> list[str]:
        """All different lines, in the order of the catalog."""
        return list(self._ids_of)

    def item_ids(self, line: str) -> set[str]:
        """The items of a line."""
        return self._ids_of[line]

    def named(self, text: str) -> set[str]:
        """The lines of which the text names every item."""
        named = self._named_items.find(text)
        lines = {self._line_of[item] for item in named}
        return {line for line in lines if self._ids_of[line] <= named}

    @cached_property
    def _named_items(self) -> NamedItems:
        return NamedItems(self._items)


class WrittenLine(NamedTuple):
    """A line of a list, and its probability among the lines that could be written there."""

    line: str
    probability: float


class Prompt(NamedTuple):
    """A text as the model reads it, and the lines that its list must not have."""

    ids: list[int]
    named: set[str]


OnLine = Callable[[int, int, WrittenLine], None]
"""Called with the position of a text, the rank from 0 and the line once a line is complete."""


class ListWriter:
    """Writes lists of one catalog with one model; the trie of the catalog is built once.

    Lists have up to `longest` lines, by default the trained length. Raises InputError if the model
    cannot be sampled so.
    """

    def __init__(
        self, student: Student, catalog: ServedCatalog, config: Config, longest: int | None = None
    ) -> None:
        self.student = student
        self.catalog = catalog
        self.config = config
        self.lines = CatalogLines(student.tokenizer, catalog.lines, config.line_format)
        self._all_lines = set(self.lines.lines)
        list_tokens = self.lines.max_tokens(longest or config.list_length)
        tokens = config.model.max_prompt_tokens + list_tokens
        support = sampler_support(student.model.config, tokens)
        if not support.takes_gaps:
            raise InputError(
                "lists of catalog lines cannot be sampled from this checkpoint, because "
                f"{support.reason}; train a model with full attention for recommendations"
            )

    def prompt(self, text: str) -> Prompt:
        """A text in the form that the model was trained on.

        Raises InputError if the prompts that it was trained on have no common form.
        """
        message = served_prompt(text, self.config)
        ids = encode_student_prompt(self.student.tokenizer, message, self.config)
        return Prompt(ids, self.catalog.named(text) & self._all_lines)

    def left(self, prompt: Prompt) -> int:
        """How many lines a list may have."""
        return len(self._all_lines) - len(prompt.named)

    def write(
        self, prompts: Sequence[Prompt], n: int, on_line: OnLine | None = None
    ) -> list[list[WrittenLine]]:
        """`n` lines for each prompt in one batch, best first. Raises InputError if few are left."""
        excluded = self.lines.excluded([prompt.named for prompt in prompts], n)
        constraint = _Reporting(self.lines, n, excluded, on_line)
        ids = [prompt.ids for prompt in prompts]
        generate_constrained(self.student, ids, constraint, temperature=0)
        return constraint.written()


class _Reporting(CatalogConstraint):
    """Adds up the probabilities of lines, and reports each line as soon as it is complete."""

    def __init__(
        self, catalog: CatalogLines, n: int, excluded: Tensor, on_line: OnLine | None
    ) -> None:
        super().__init__(catalog, n, excluded)
        self._on_line = on_line
        self._reported = [0] * len(excluded)
        self._logps: Tensor  # (B, n), of the choices within each line

    def reset(self, count: int, device: torch.device) -> None:
        """Start `count` empty lists."""
        super().reset(count, device)
        self._logps = torch.zeros(count, self.n, dtype=torch.double, device=device)

    def choose_tokens(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """As without reports."""
        ranks = self._cursor.ranks(rows)
        choice = super().choose_tokens(logits, temperature, draws, rows)
        self._logps[rows, ranks] += choice.logps
        if self._on_line is not None and self._line_counts() != self._reported:
            for row, lines in enumerate(self.written()):
                for rank in range(self._reported[row], len(lines)):
                    self._on_line(row, rank, lines[rank])
                self._reported[row] = len(lines)
        return choice

    def written(self) -> list[list[WrittenLine]]:
        """The lines so far."""
        lists = zip(self.generated_lines(), self._logps.exp().tolist(), strict=True)
        return [list(map(WrittenLine, lines, values)) for lines, values in lists]

    def _line_counts(self) -> list[int]:
        """The number of complete lines of each list so far."""
        return (self._cursor.generated >= 0).sum(dim=1).tolist()


def recommend_texts(
    student: Student,
    catalog: ServedCatalog,
    texts: Sequence[str],
    config: Config,
    *,
    n: int | None = None,
    batch_size: int = 1,
    share: tuple[int, int] = (0, 1),
    progress: Progress = no_progress,
) -> list[list[str]]:
    """`n` lines for each text, best first; `n` defaults to the trained list length.

    A text that leaves fewer than `n` lines gets an empty list, and so do the texts of other shares:
    of `share` = (k, count), only batches k, k + count, ... are computed. Raises InputError if the
    model cannot be sampled so, or the prompts that it was trained on have no common form.
    """
    n = n or config.list_length
    writer = ListWriter(student, catalog, config, n)
    prompts = [writer.prompt(text) for text in texts]
    possible = [i for i, prompt in enumerate(prompts) if writer.left(prompt) >= n]
    order = sorted(possible, key=lambda i: len(prompts[i].ids))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    found: list[list[str]] = [[] for _ in texts]
    mine = batches[share[0] :: share[1]]
    total, done = sum(map(len, mine)), 0
    for batch in mine:
        for i, lines in zip(batch, writer.write([prompts[i] for i in batch], n), strict=True):
            found[i] = [line.line for line in lines]
        done += len(batch)
        progress(done, total, "texts answered")
    return found
