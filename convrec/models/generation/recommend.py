"""The lists that `convrec recommend` writes, one text or many at a time.

A list has N different lines of a catalog and none that the text names, by greedy choice, so the
same text always gets the same list. Serving and the system `served` of an evaluation share this
module: what is measured is what a user gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.generation.catalog_constraint import CatalogConstraint, generate_constrained
from convrec.models.generation.catalog_lines import CatalogLines
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

    def named(self, text: str) -> set[str]:
        """The lines of which the text names every item."""
        named = self._named_items.find(text)
        lines = {self._line_of[item] for item in named}
        return {line for line in lines if self._ids_of[line] <= named}

    @cached_property
    def _named_items(self) -> NamedItems:
        return NamedItems(self._items)


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
    lines = CatalogLines(student.tokenizer, catalog.lines, config.line_format)
    longest = config.model.max_prompt_tokens + lines.max_tokens(n)
    support = sampler_support(student.model.config, longest)
    if not support.takes_gaps:
        raise InputError(
            "lists of catalog lines cannot be sampled from this checkpoint, because "
            f"{support.reason}; train a model with full attention for recommendations"
        )
    prompts = [served_prompt(text, config) for text in texts]
    ids = [encode_student_prompt(student.tokenizer, prompt, config) for prompt in prompts]
    all_lines = set(lines.lines)
    named = [catalog.named(text) & all_lines for text in texts]
    possible = [i for i, excluded in enumerate(named) if len(all_lines) - len(excluded) >= n]
    order = sorted(possible, key=lambda i: len(ids[i]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    found: list[list[str]] = [[] for _ in texts]
    mine = batches[share[0] :: share[1]]
    total, done = sum(map(len, mine)), 0
    for batch in mine:
        excluded = lines.excluded([named[i] for i in batch], n)
        constraint = CatalogConstraint(lines, n, excluded)
        lists = generate_constrained(student, [ids[i] for i in batch], constraint, temperature=0)
        for i, one in zip(batch, lists, strict=True):
            found[i] = one
        done += len(batch)
        progress(done, total, "texts answered")
    return found
