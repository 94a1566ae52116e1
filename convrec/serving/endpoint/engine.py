"""The embedded engine: one model in this process, one catalog at a time.

The catalog can be replaced while requests are answered: a request is answered with the catalog that
is in use when its batch starts.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from convrec.artifacts import Store
from convrec.catalog.versions import parse_catalog_name
from convrec.errors import ConvrecError, InputError
from convrec.models.generation.recommend import ListWriter, Prompt, ServedCatalog, WrittenLine
from convrec.models.load import Student, load_checkpoint, load_tokenizer
from convrec.models.manifest import serving_config
from convrec.models.prompts import served_prompt
from convrec.serving.catalogs import NamedCatalog, load_named_catalog, pinned_name
from convrec.serving.recommend import check_checkpoint, known_words, words_not_in


@dataclass(frozen=True)
class RankedItem:
    """An item of a list.

    Attributes:
        score: The probability of its line among the lines that could have this rank; None if the
            engine does not tell.
        other_item_ids: Further items of the catalog that are written as the same line.
    """

    rank: int
    item_id: str
    title: str
    year: int | None
    line: str
    score: float | None
    link: str | None = None
    other_item_ids: list[str] = field(default_factory=list)


OnItem = Callable[[RankedItem], None]


@dataclass(frozen=True)
class ListRequest:
    """A conversation, the wanted number of items, and who gets each item once it is known."""

    text: str
    n: int
    on_item: OnItem | None = None


@dataclass(frozen=True)
class ListAnswer:
    """A list, how its text was understood, and the catalog that it is from."""

    items: list[RankedItem]
    seen: list[str]
    unknown_words: list[str]
    catalog: str
    prompt_tokens: int
    completion_tokens: int


class Engine(Protocol):
    """What the endpoint needs of an engine."""

    model: str
    list_length: int

    @property
    def catalog(self) -> CatalogInUse:
        """The catalog in use."""

    def use_catalog(self, name: str) -> CatalogInUse:
        """Load a catalog and use it from the next batch on. Raises InputError."""

    def follow(self) -> bool:
        """Use the newest version if the catalog's name has no version; whether it was replaced."""

    def answer(self, requests: Sequence[ListRequest]) -> list[ListAnswer | Exception]:
        """Answer requests together; a request that cannot be answered gets its error."""


class CatalogInUse:
    """A catalog as an engine uses it: its lines, and the items behind them."""

    def __init__(self, setting: str, named: NamedCatalog, served: ServedCatalog) -> None:
        self.setting = setting
        self.name = named.name
        self.served = served
        self._links = named.links
        self._items = {row[0]: row for row in named.items.iter_rows()}
        self._number = {item_id: number for number, item_id in enumerate(self._items)}

    def __len__(self) -> int:
        return len(self._items)

    def ranked(self, rank: int, line: str, score: float | None) -> RankedItem:
        """The item behind the line at a rank, counted from 1."""
        first, *others = sorted(self.served.item_ids(line), key=self._number.__getitem__)
        _, title, year = self._items[first]
        link = self._links.get(first)
        return RankedItem(rank, first, title, year, line, score, link, others)

    def seen(self, named: set[str]) -> list[str]:
        """Lines that a text names, in the order of the catalog."""
        return [line for line in self.served.lines if line in named]


class CheckpointCatalogs:
    """A checkpoint's settings, and the catalogs that it is served with."""

    def __init__(self, store: Store, checkpoint: str) -> None:
        check_checkpoint(store, checkpoint)
        self.store = store
        self.model = checkpoint
        self.config = serving_config(store.read(checkpoint)["manifest"][0])
        served_prompt("a", self.config)  # refuses prompts without a common form
        self.list_length = self.config.list_length
        self._known_words = known_words(store, checkpoint, self.config.model.base)

    def load(self, setting: str) -> CatalogInUse:
        """Read a catalog. Raises InputError if it has too few items for a list."""
        named = load_named_catalog(self.store, self.model, setting, self.config, links=True)
        catalog = CatalogInUse(
            setting, named, ServedCatalog(named.items.iter_rows(), self.config.line_format)
        )
        if len(catalog.served.lines) < self.list_length:
            raise InputError(
                f"catalog {named.name} has {len(catalog.served.lines)} different lines, but a list "
                f"has {self.list_length}; use a larger catalog"
            )
        return catalog

    def is_outdated(self, catalog: CatalogInUse) -> bool:
        """Whether a newer version of a catalog that is named without a version is published."""
        name = parse_catalog_name(catalog.setting)
        if name is None or name.version is not None:
            return False
        return pinned_name(self.store, catalog.setting) != catalog.name

    def unknown_words(self, text: str) -> list[str]:
        """The words that the model never saw, if it knows only its training data."""
        return [] if self._known_words is None else words_not_in(text, self._known_words)


def refuse_short(n: int, left: int) -> InputError:
    """The error for a text that leaves fewer items than its list needs."""
    return InputError(
        f"the list needs {n} items that the conversation does not name, but the catalog has "
        f"{left}; ask for fewer with list_length"
    )


class EmbeddedEngine:
    """Answers with the model in this process. Only one thread may call `answer`."""

    def __init__(self, store: Store, checkpoint: str, catalog: str = "") -> None:
        self._source = CheckpointCatalogs(store, checkpoint)
        self.model = checkpoint
        self.list_length = self._source.list_length
        folder = store.fetch_folder(checkpoint)
        self._student = load_checkpoint(folder)
        self._tokenizer: Any = load_tokenizer(folder)
        self._replacing = threading.Lock()
        self._use(catalog)

    @property
    def catalog(self) -> CatalogInUse:
        """The catalog in use."""
        return self._current[0]

    def use_catalog(self, name: str) -> CatalogInUse:
        """Load a catalog and use it from the next batch on. Raises InputError."""
        with self._replacing:
            return self._use(name)

    def follow(self) -> bool:
        """Use the newest version if the catalog's name has no version; whether it was replaced."""
        with self._replacing:
            outdated = self._source.is_outdated(self.catalog)
            if outdated:
                self._use(self.catalog.setting)
            return outdated

    def answer(self, requests: Sequence[ListRequest]) -> list[ListAnswer | Exception]:
        """Answer requests together; a request that cannot be answered gets its error."""
        catalog, writer = self._current
        answers: list[ListAnswer | Exception] = [RuntimeError("not answered")] * len(requests)
        ready: dict[int, list[tuple[int, Prompt]]] = {}
        for number, request in enumerate(requests):
            try:
                prompt = writer.prompt(request.text)
                if writer.left(prompt) < request.n:
                    raise refuse_short(request.n, writer.left(prompt))
                ready.setdefault(request.n, []).append((number, prompt))
            except ConvrecError as error:
                answers[number] = error
        for n, group in ready.items():
            self._answer_group(catalog, writer, n, group, requests, answers)
        return answers

    def _answer_group(
        self,
        catalog: CatalogInUse,
        writer: ListWriter,
        n: int,
        group: Sequence[tuple[int, Prompt]],
        requests: Sequence[ListRequest],
        answers: list[ListAnswer | Exception],
    ) -> None:
        def report(row: int, rank: int, line: WrittenLine) -> None:
            on_item = requests[group[row][0]].on_item
            if on_item is not None:
                on_item(catalog.ranked(rank + 1, line.line, line.probability))

        is_followed = any(requests[number].on_item for number, _ in group)
        prompts = [prompt for _, prompt in group]
        lists = writer.write(prompts, n, report if is_followed else None)
        for (number, prompt), lines in zip(group, lists, strict=True):
            text = requests[number].text
            written = writer.student.tokenizer("\n".join(line.line for line in lines))
            answers[number] = ListAnswer(
                items=[
                    catalog.ranked(rank, line.line, line.probability)
                    for rank, line in enumerate(lines, start=1)
                ],
                seen=catalog.seen(prompt.named),
                unknown_words=self._source.unknown_words(text),
                catalog=catalog.name,
                prompt_tokens=len(prompt.ids),
                completion_tokens=len(written["input_ids"]) + 1,
            )

    def _use(self, setting: str) -> CatalogInUse:
        catalog = self._source.load(setting)
        # A tokenizer of its own: another thread may be using that of the previous catalog.
        student = Student(self._student.model, copy.deepcopy(self._tokenizer))
        self._current = (catalog, ListWriter(student, catalog.served, self._source.config))
        return catalog
