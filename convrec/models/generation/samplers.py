"""Samplers by name: what makes the rule for a batch of prompts, in evaluation and in RL.

free         the model alone, up to its end-of-sequence token
lines        the model alone, until N lines are written
distinct     as `lines`, each line drawn given that it is none of those before
constrained  N of the catalog's lines, unseen, none twice
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from convrec.config import Config
from convrec.config.sections import SamplerName
from convrec.errors import InputError
from convrec.metrics.relevance import titled
from convrec.models.generation.catalog_constrained import FromCatalog
from convrec.models.generation.catalog_lines import CatalogLines
from convrec.models.generation.constraints import EndAtLines, Free
from convrec.models.generation.distinct import DistinctLines, line_key
from convrec.models.generation.loop import DecodingConstraint
from convrec.models.tokens import newline_counts
from convrec.titles.line_format import TITLE_YEAR, LineFormat

SamplerPrompt = Sequence[int]


class Sampler:
    """Makes the rule of each batch of lists of `n` lines.

    A list ends at the latest after `most_tokens`; a constrained one is as long as it needs. `helps`
    says whether the sampler writes tokens that the model did not choose, which a trainer has to
    mask; `seen` are the lines that the lists of a prompt (its token ids) may not have.
    """

    def __init__(
        self,
        name: SamplerName,
        tokenizer: Any,
        n: int,
        most_tokens: int,
        *,
        form: LineFormat = TITLE_YEAR,
        catalog: CatalogLines | None = None,
        seen: Mapping[tuple[int, ...], Collection[str]] | None = None,
    ) -> None:
        self.name = name
        self.helps = name != "free"
        self.n = n
        self.catalog = catalog
        self.seen = seen or {}
        self.most_tokens = most_tokens
        eos = tokenizer.eos_token_id
        self._rule: Free = Free(eos)
        if name in ("lines", "distinct"):
            counts = newline_counts(tokenizer, len(tokenizer))
            self._rule = (
                EndAtLines(eos, n, counts)
                if name == "lines"
                else DistinctLines(eos, n, counts, line_key(tokenizer, form))
            )
        if name == "constrained":
            if catalog is None or not catalog.lines:
                raise InputError("the constrained sampler needs a catalog, and none was given")
            self.most_tokens = n * catalog.trie.longest

    def rule(self, prompts: Iterable[SamplerPrompt]) -> DecodingConstraint:
        """The rule for lists that follow these prompts, one prompt a list.

        Raises InputError where too few lines are left to a list.
        """
        if self.name != "constrained" or self.catalog is None:
            return self._rule
        return FromCatalog(self.catalog, self.n, self.closed(prompts))

    def closed(self, prompts: Iterable[SamplerPrompt]) -> Tensor:
        """The catalog lines that each prompt's lists may not have: (B, lines) bool."""
        if self.catalog is None:
            raise ValueError("without a catalog nothing is closed")
        rows = [self.seen.get(tuple(prompt), ()) for prompt in prompts]
        return self.catalog.closed(rows, self.n)


def sampler_for(
    name: SamplerName,
    tokenizer: Any,
    config: Config,
    *,
    lines: Iterable[str] = (),
    rows: Iterable[Mapping[str, Any]] = (),
) -> Sampler:
    """The sampler that a setting names.

    Only `constrained` reads `lines` (the catalog's, as a list has them) and `rows` (with `prompt`,
    its token ids, and `seen`, structs of title and year). Rows with the same prompt have seen what
    any of them has.
    """
    n, most = config.list_length, config.model.max_completion_tokens
    if name != "constrained":
        return Sampler(name, tokenizer, n, most, form=config.line_format)
    catalog = CatalogLines(tokenizer, lines, config.line_format)
    seen: dict[tuple[int, ...], set[str]] = {}
    for row in rows:
        seen.setdefault(tuple(row["prompt"]), set()).update(catalog.seen(titled(row["seen"])))
    return Sampler(name, tokenizer, n, most, catalog=catalog, seen=seen)
