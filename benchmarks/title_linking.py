"""Title linking on labeled titles: precision, recall, F1, and time compared with a bare cdist.

    python benchmarks/title_linking.py [--rounds 7] [--errors] [--undated] [--unlabelled]

The titles are MovieLens spellings labeled with items of another catalog, or with none. A link to
the labeled item is correct; recall is over titles that have one. `--undated` removes the years and
times that, too: every title that no rule finds is then compared with the whole catalog.
`--unlabelled` prints, for manual review, links of further MovieLens titles without labels that are
not exact or differ in year. The rules against plurals and short titles after a series name were
made after reading them, so these titles are no test of those two rules.

Each round times `Linker(catalog)`, its `link_many` over the titles, and a bare
`rapidfuzz.process.cdist` (fuzz.ratio, no cutoff) of the same titles against the catalog's titles,
with one worker and with one per core. The ratios are of the medians and include index building.
Other programs disturb single rounds, not the order of the medians. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import polars as pl
from rapidfuzz import fuzz, process

from convrec.catalog.load import load_catalog
from convrec.titles.linker import Link, Linker
from convrec.titles.normalize import split_year

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "title_links"


def figures(wanted: Sequence[str | None], found: Sequence[str | None]) -> dict[str, Any]:
    """Precision, recall and F1 of item ids; None if nothing is meant or found."""
    right = sum(a is not None and a == b for a, b in zip(wanted, found, strict=True))
    made, meant = (sum(x is not None for x in xs) for xs in (found, wanted))
    precision, recall = right / max(made, 1), right / max(meant, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    shares = {"precision": precision, "recall": recall, "f1": f1}
    return {name: round(share, 4) for name, share in shares.items()} | {
        "right": right,
        "linked": made,
        "labelled": meant,
    }


def unlabelled(labelled: Sequence[str], linker: Linker) -> dict[str, int]:
    """Print the links of unlabeled MovieLens titles that need review; count all of them."""
    facts = pl.read_csv(DATA.parent / "movie_facts" / "movies.csv")
    dated = ((t, y, t if y is None else f"{t} ({y})") for t, y, _ in facts.iter_rows())
    known = set(labelled)
    asked = [(title, year) for title, year, text in dated if text not in known]
    links = linker.link_many(asked)
    read = 0
    for (title, year), link in zip(asked, links, strict=True):
        if link and (link.method != "exact" or link.year != year):
            read += 1
            print(f"{title} ({year}) -> {link.title} ({link.year}), {link.method}, {link.score}")
    made = sum(link is not None for link in links)
    return {"titles": len(asked), "linked": made, "not exact or of another year": read}


def timed(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def times(titles: Sequence[str], catalog: pl.DataFrame, rounds: int) -> dict[str, Any]:
    """Medians in seconds over alternating rounds, and their ratios."""
    pairs: list[tuple[str, int | None]] = [(title, None) for title in titles]
    names, linker = catalog["title"].to_list(), Linker(catalog)
    works: dict[str, Callable[[], object]] = {
        "index": lambda: Linker(catalog),
        "link": lambda: linker.link_many(pairs),
        "both": lambda: Linker(catalog).link_many(pairs),
        "cdist, 1 worker": lambda: process.cdist(titles, names, scorer=fuzz.ratio, workers=1),
        "cdist, all cores": lambda: process.cdist(titles, names, scorer=fuzz.ratio, workers=-1),
    }
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            spent[name].append(timed(work))
    seconds = {name: median(values) for name, values in spent.items()}
    ratios = {
        f"both / {name}": round(seconds["both"] / seconds[name], 2)
        for name in ("cdist, 1 worker", "cdist, all cores")
    }
    return {name: round(value, 3) for name, value in seconds.items()} | ratios


def show_errors(gold: pl.DataFrame, links: Sequence[Link | None]) -> None:
    for (query, item), link in zip(gold.iter_rows(), links, strict=True):
        if item != (link.item_id if link else None):
            made = f"{link.title} ({link.year}), {link.method}, {link.score}" if link else "no link"
            print(f"{query}: labeled {item or 'not in the catalog'}; {made}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="timing rounds, 0 for none")
    parser.add_argument("--errors", action="store_true", help="print every wrong or missing link")
    parser.add_argument("--undated", action="store_true", help="time titles without years too")
    parser.add_argument("--unlabelled", action="store_true", help="print links of further titles")
    options = parser.parse_args()
    if not DATA.is_dir():
        parser.error("the folder shared/data/title_links next to the checkout is missing")
    gold = pl.read_csv(DATA / "title_links.csv")
    catalog = load_catalog(DATA / "catalog.csv")[0]
    titles, wanted = gold["query"].to_list(), gold["item_id"].to_list()
    links = Linker(catalog).link_many([(title, None) for title in titles])
    result: dict[str, Any] = {
        "titles": len(titles),
        "catalog": catalog.height,
        "ours": figures(wanted, [link and link.item_id for link in links]),
        "wrong item for a labelled title": sum(
            item is not None and link is not None and link.item_id != item
            for item, link in zip(wanted, links, strict=True)
        ),
    }
    if options.errors:
        show_errors(gold, links)
    if options.unlabelled:
        result["unlabelled"] = unlabelled(titles, Linker(catalog))
    if options.rounds:
        result["seconds"] = times(titles, catalog, options.rounds)
    if options.rounds and options.undated:
        bare = [split_year(title)[0] for title in titles]
        result["seconds, undated"] = times(bare, catalog, options.rounds)
    for name, value in result.items():
        print(f"{name}: {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
