"""Tells works of one title apart by the remarks in brackets after it.

A remark that chooses ("remake", "original", "80s version") needs several works to choose from. One
that names another kind of work ("TV series") rejects an item that the catalog does not call that.
Of other remarks ("US", "Kubrick", "director's cut") the link's score and note say that the catalog
cannot tell. If the years are equal, the year decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from convrec.titles.candidate import Candidate
from convrec.titles.catalog_facts import CatalogFacts
from convrec.titles.remarks import Order, Remark

_EDITION, _CHOSEN, _UNTOLD, _ONE_OF_MANY = 1, 2, 3, 10
"""Penalties."""

_LATER: frozenset[Order] = frozenset({"later", "latest"})
_ANIMATED = Remark("", genre="animation")


class VersionQuery(NamedTuple):
    """What a written title says about the version.

    Attributes:
        remarks: Its remarks.
        year: Its year.
        named: For each remark, the items that have it in one of their names.
        undated: The items for the title without its year, to choose from.
    """

    remarks: Sequence[Remark]
    year: int | None
    named: Mapping[Remark, Collection[int]]
    undated: Sequence[Candidate]


class _Choice(NamedTuple):
    """The items that a remark means, with a penalty and a note for their links."""

    positions: Collection[int]
    penalty: float = 0
    note: str = ""


def tell_apart(
    query: VersionQuery, candidates: Sequence[Candidate], facts: CatalogFacts
) -> list[Candidate]:
    """The candidates with the penalties and notes of the remarks; some become rejected."""
    accounted = _account(query, candidates, facts)
    for remark in query.remarks:
        if remark.chooses:
            undated = query._replace(year=None)
            pool = _account(undated, query.undated, facts) if query.year else accounted
            accounted = _choose(query, remark, accounted, pool, facts)
    return accounted


def _account(
    query: VersionQuery, candidates: Sequence[Candidate], facts: CatalogFacts
) -> list[Candidate]:
    """The candidates with what the remarks of the title, or else their own, cost."""
    several = len(_namesakes(candidates)) > 1
    accounted = []
    for candidate in candidates:
        position = candidate.position
        same_year = query.year is not None and facts.years[position] == query.year
        for remark in query.remarks:
            if position not in query.named[remark]:
                candidate = _account_for(remark, candidate, same_year, several, facts)
        for remark in () if same_year or query.remarks else facts.remarks.get(position, ()):
            candidate = _add(candidate, _UNTOLD, f'the catalog\'s title has "{remark.text}"')
        accounted.append(candidate)
    return accounted


def _account_for(
    remark: Remark, candidate: Candidate, same_year: bool, several: bool, facts: CatalogFacts
) -> Candidate:
    untold = f'the catalog does not tell "{remark.text}"'
    if remark.medium and remark.medium not in facts.media(candidate.position):
        if not same_year and facts.medium:
            return candidate._replace(rejected=True)
        return _add(candidate, _UNTOLD, untold)
    if same_year:
        return candidate
    if facts.denies(candidate.position, remark):
        return candidate._replace(rejected=True)
    if not facts.says(candidate.position, remark):
        return _add(candidate, _ONE_OF_MANY if several else _UNTOLD, untold)
    return (
        _add(candidate, _EDITION, f'an edition: "{remark.text}"')
        if remark.is_edition
        else candidate
    )


def _choose(
    query: VersionQuery,
    remark: Remark,
    candidates: Sequence[Candidate],
    pool: Sequence[Candidate],
    facts: CatalogFacts,
) -> list[Candidate]:
    """Reject the candidates that the remark does not mean, unless their year is the title's.

    The works to choose from are in `pool`. If "2nd one" may be both a sequel and another work of
    the title, all are rejected.
    """
    named = query.named[remark]
    namesakes = _namesakes([c for c in pool if c.position not in named])
    meant = _works_meant(remark, namesakes, facts)
    is_named = any(c.position in named and not c.rejected for c in candidates)
    is_ambiguous = bool(remark.number and meant.positions and is_named)
    chosen = []
    for candidate in candidates:
        year = facts.years[candidate.position]
        if year is not None and year == query.year:
            pass
        elif candidate.position in meant.positions and not is_named:
            candidate = _add(candidate, meant.penalty, meant.note)
        elif candidate.position not in named or is_ambiguous:
            candidate = candidate._replace(rejected=True)
        chosen.append(candidate)
    return chosen


def _namesakes(candidates: Sequence[Candidate]) -> set[int]:
    """The items that match the title best."""
    usable = [c for c in candidates if not c.rejected]
    best = min((c.penalty for c in usable), default=0)
    return {c.position for c in usable if c.penalty == best}


def _works_meant(remark: Remark, namesakes: Collection[int], facts: CatalogFacts) -> _Choice:
    """The works of one title that a remark means; none if the catalog cannot tell."""
    own = {p: [r.order for r in facts.remarks.get(p, ()) if r.order] for p in namesakes}
    if alike := [p for p, orders in own.items() if _is_alike(remark.order, orders)]:
        return _Choice(alike)
    works = [p for p in namesakes if not own[p] and (remark.medium or facts.is_usual(p))]
    dated = {p: year for p in works if (year := facts.years[p]) is not None}
    if remark.years:
        return _Choice([p for p, y in dated.items() if remark.years[0] <= y <= remark.years[1]])
    drawn = [p for p in dated if remark.order == "live action" and facts.says(p, _ANIMATED)]
    if len(drawn) < len(dated):
        dated = {p: year for p, year in dated.items() if p not in drawn}
    years = sorted(set(dated.values()))
    if len(works) == 1 and not years:
        dated, years = dict.fromkeys(works, 0), [0]
    only = len(years) == 1
    if remark.number:
        index, cost = remark.number - 1, _UNTOLD
    elif remark.order == "earliest":
        index, cost = 0, _UNTOLD if only else _EDITION
    else:
        index = len(years) if only and not drawn else len(years) - 1
        cost = _ONE_OF_MANY if len(years) > 2 and remark.order == "later" else _CHOSEN
    if index not in range(len(years)):
        return _Choice(())
    rank = "the only work" if only else f"work {index + 1} of {len(years)}"
    note = f'"{remark.text}": {rank} of this title{" that is not animated" if drawn else ""}'
    return _Choice([p for p, year in dated.items() if year == years[index]], cost, note)


def _is_alike(order: Order, orders: Collection[Order]) -> bool:
    return bool(order) and (order in orders or (order in _LATER and not _LATER.isdisjoint(orders)))


def _add(candidate: Candidate, penalty: float, note: str) -> Candidate:
    notes = f"{candidate.note}; {note}" if candidate.note and note else candidate.note or note
    return candidate._replace(penalty=candidate.penalty + penalty, note=notes)
