"""Samplers by name, shared by evaluation and reinforcement learning.

free         the model alone, up to its EOS
lines        the model alone, stopped after N lines
distinct     as `lines`, without repeated lines
constrained  N different unseen lines of the catalog
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from convrec.config import Config
from convrec.config.sections import SamplerName
from convrec.errors import InputError
from convrec.metrics.relevance import titles_and_years
from convrec.models.generation.catalog_constraint import CatalogConstraint
from convrec.models.generation.catalog_lines import CatalogLines
from convrec.models.generation.distinct import DistinctLines, line_key
from convrec.models.generation.loop import DecodingConstraint
from convrec.models.generation.without_catalog import StopAfterLines, Unconstrained, count_newlines
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat


class Sampler:
    """Makes the decoding constraint for each batch of lists of `n` lines.

    `seen` are the lines that the lists of a prompt (its token ids) must not have.

    Attributes:
        max_tokens: The maximum length of a list; a constrained list is as long as it needs.
        forces_tokens: Whether lists have tokens that the model did not choose.
    """

    def __init__(
        self,
        name: SamplerName,
        tokenizer: Any,
        n: int,
        max_tokens: int,
        *,
        line_format: LineFormat = DEFAULT_FORMAT,
        catalog: CatalogLines | None = None,
        seen: Mapping[tuple[int, ...], Collection[str]] | None = None,
    ) -> None:
        self.name = name
        self.forces_tokens = name != "free"
        self.n = n
        self.catalog = catalog
        self.seen = seen or {}
        self.max_tokens = max_tokens
        eos = tokenizer.eos_token_id
        self._constraint: Unconstrained = Unconstrained(eos)
        if name in ("lines", "distinct"):
            counts = count_newlines(tokenizer, len(tokenizer))
            self._constraint = (
                StopAfterLines(eos, n, counts)
                if name == "lines"
                else DistinctLines(eos, n, counts, line_key(tokenizer, line_format))
            )
        if name == "constrained":
            if catalog is None or not catalog.lines:
                raise InputError("the constrained sampler needs a catalog, but there is none")
            self.max_tokens = catalog.max_tokens(n)

    def constraint(self, prompts: Iterable[Sequence[int]]) -> DecodingConstraint:
        """The constraint of lists after these prompts; InputError if too few lines are left."""
        if self.name != "constrained" or self.catalog is None:
            return self._constraint
        return CatalogConstraint(self.catalog, self.n, self.excluded(prompts))

    def excluded(self, prompts: Iterable[Sequence[int]]) -> Tensor:
        """The catalog lines that each prompt's lists must not have: (B, lines) bool."""
        if self.catalog is None:
            raise ValueError("only the constrained sampler excludes lines")
        rows = [self.seen.get(tuple(prompt), ()) for prompt in prompts]
        return self.catalog.excluded(rows, self.n)


def make_sampler(
    name: SamplerName,
    tokenizer: Any,
    config: Config,
    *,
    lines: Iterable[str] = (),
    rows: Iterable[Mapping[str, Any]] = (),
) -> Sampler:
    """The sampler called `name`, with the configured list length and line format.

    Only `constrained` reads the catalog's `lines` and `rows` (`prompt` is token ids, `seen` structs
    of title and year). Rows with the same prompt share their seen titles.
    """
    n, max_tokens = config.list_length, config.model.max_completion_tokens
    if name != "constrained":
        return Sampler(name, tokenizer, n, max_tokens, line_format=config.line_format)
    catalog = CatalogLines(tokenizer, lines, config.line_format)
    seen: dict[tuple[int, ...], set[str]] = {}
    for row in rows:
        titles = titles_and_years(row["seen"])
        seen.setdefault(tuple(row["prompt"]), set()).update(catalog.seen(titles))
    return Sampler(name, tokenizer, n, max_tokens, catalog=catalog, seen=seen)
