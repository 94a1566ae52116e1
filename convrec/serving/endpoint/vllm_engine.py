"""Lists from a vLLM server that runs the exported model, constrained by a grammar of the catalog.

A grammar allows repeats and named items. The first line of either kind and all after it are
dropped, and the rest of the list is asked for again without the lines that it must not have. Since
choice is greedy, this gives the lists that those lines would have been excluded from at once. The
first request has the grammar of the whole catalog, which the server compiles once.

A grammar constrains text, not tokens: where a model writes a title in other tokens than it was
trained on, lists can differ from those of the embedded engine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from convrec.artifacts import Store
from convrec.errors import ConvrecError, EndpointError, InputError
from convrec.models.load import load_tokenizer
from convrec.models.prompts import encode_student_prompt, served_prompt
from convrec.serving.endpoint.engine import (
    CatalogInUse,
    CheckpointCatalogs,
    ListAnswer,
    ListRequest,
    RankedItem,
    refuse_short,
)
from convrec.serving.endpoint.grammar import list_grammar
from convrec.utils.error_text import first_line


class VllmEngine:
    """Answers with a vLLM server; several threads may call `answer`."""

    def __init__(
        self, store: Store, checkpoint: str, url: str, catalog: str = "", *, key: str = ""
    ) -> None:
        """Raises InputError if no server at `url` runs a model."""
        import openai

        self._source = CheckpointCatalogs(store, checkpoint)
        self.model = checkpoint
        self.list_length = self._source.list_length
        self._client = openai.OpenAI(base_url=url, api_key=key or "none", max_retries=2)
        try:
            self._served_name = self._client.models.list().data[0].id
        except (openai.OpenAIError, IndexError, ValueError) as error:
            raise InputError(
                f"--vllm-url {url} does not name a model ({first_line(error)}); export the "
                f"checkpoint and start a server: `convrec export {checkpoint} FOLDER`, then "
                "`vllm serve FOLDER`"
            ) from None
        self._tokenizer: Any = load_tokenizer(store.fetch_folder(checkpoint))
        self._tokenizing, self._replacing = threading.Lock(), threading.Lock()
        self._catalog = self._source.load(catalog)

    @property
    def catalog(self) -> CatalogInUse:
        """The catalog in use."""
        return self._catalog

    def use_catalog(self, name: str) -> CatalogInUse:
        """Load a catalog and use it from the next request on. Raises InputError."""
        with self._replacing:
            self._catalog = self._source.load(name)
            return self._catalog

    def follow(self) -> bool:
        """Use the newest version if the catalog's name has no version; whether it was replaced."""
        with self._replacing:
            outdated = self._source.is_outdated(self._catalog)
            if outdated:
                self._catalog = self._source.load(self._catalog.setting)
            return outdated

    def answer(self, requests: Sequence[ListRequest]) -> list[ListAnswer | Exception]:
        """Answer requests one after the other; one that cannot be answered gets its error."""
        answers: list[ListAnswer | Exception] = []
        for request in requests:
            try:
                answers.append(self._answer(request))
            except ConvrecError as error:
                answers.append(error)
        return answers

    def _answer(self, request: ListRequest) -> ListAnswer:
        catalog = self._catalog
        named = catalog.served.named(request.text)
        left = [line for line in catalog.served.lines if line not in named]
        if len(left) < request.n:
            raise refuse_short(request.n, len(left))
        prompt = self._prompt_ids(request.text)
        allowed = catalog.served.lines
        items: list[RankedItem] = []
        tokens = 0
        while len(items) < request.n:
            kept = [item.line for item in items]
            written, used = self._complete(prompt, kept, allowed, request.n - len(kept))
            tokens += used
            new = list(new_lines(written, left))
            if not new and allowed is left:
                raise EndpointError("the vLLM server did not keep to the grammar of the catalog")
            for line in new[: request.n - len(kept)]:
                items.append(catalog.ranked(len(items) + 1, line, None))
                if request.on_item is not None:
                    request.on_item(items[-1])
            left = allowed = [line for line in left if line not in new]
        return ListAnswer(
            items=items,
            seen=catalog.seen(named),
            unknown_words=self._source.unknown_words(request.text),
            catalog=catalog.name,
            prompt_tokens=len(prompt),
            completion_tokens=tokens,
        )

    def _complete(
        self, prompt: list[int], kept: list[str], allowed: Sequence[str], n: int
    ) -> tuple[list[str], int]:
        """`n` lines after the kept ones, each one of `allowed`, and the number of their tokens."""
        import openai

        with self._tokenizing:
            before = self._token_ids("\n".join([*kept, ""])) if kept else []
            longest = max(map(len, self._tokenizer(list(allowed))["input_ids"]))
        grammar = {"grammar": list_grammar(allowed, n)}
        try:
            found = self._client.completions.create(
                model=self._served_name,
                prompt=[*prompt, *before],
                max_tokens=n * (longest + 1),
                temperature=0,
                extra_body={"structured_outputs": grammar},
            )
            written = found.choices[0].text
        except (openai.OpenAIError, IndexError) as error:
            raise EndpointError(f"the vLLM server failed ({first_line(error)})") from None
        used = found.usage.completion_tokens if found.usage else 0
        return written.strip("\n").split("\n"), used

    def _prompt_ids(self, text: str) -> list[int]:
        config = self._source.config
        with self._tokenizing:
            return encode_student_prompt(self._tokenizer, served_prompt(text, config), config)

    def _token_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def new_lines(written: Sequence[str], allowed: Sequence[str]) -> Iterator[str]:
    """The lines up to the first that is not allowed or is repeated."""
    left = set(allowed)
    for line in written:
        if line not in left:
            return
        left.remove(line)
        yield line
