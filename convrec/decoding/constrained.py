"""Lists that can only be right: catalog lines, no repeats, exactly N, whatever the model is.

A trie over the tokens of the allowed lines says which tokens may come next; a line that was written
leaves the trie, and the list ends after the N-th line. Each line is tokenised as it stands inside a
list (after a newline), so that tokens which span a line's end, as ")\\n" in Qwen's vocabulary, are
the ones that the model was trained on. What comes out are the lines themselves, never decoded text,
so it is in the catalog even for a tokenizer that cannot reproduce a title.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from convrec.config import Config
from convrec.errors import InputError
from convrec.sft.prompts import encode_prompt
from convrec.sft.student import Student, load_checkpoint

_BEFORE = "A\n"
"""Stands before a line while it is tokenised, as another line does in a list."""


@dataclass
class Node:
    """A point in the trie; `lines` counts the lines below that may still be written."""

    children: dict[int, Node] = field(default_factory=dict)
    lines: int = 0
    line: int = -1


class Trie:
    """Token sequences of lines; each can be taken once.

    Two lines with the same tokens (a tokenizer that knows neither title) count as one.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        self.root = Node()
        self._paths: dict[int, tuple[int, ...]] = {}
        for line, sequence in enumerate(sequences):
            self._add(line, tuple(sequence))

    def _add(self, line: int, sequence: tuple[int, ...]) -> None:
        path = [self.root]
        for token in sequence:
            path.append(path[-1].children.setdefault(token, Node()))
        if path[-1].line >= 0:
            return
        path[-1].line = line
        self._paths[line] = sequence
        for node in path:
            node.lines += 1

    def __len__(self) -> int:
        """Lines that may still be taken."""
        return self.root.lines

    def take(self, line: int) -> None:
        """Never allow this line again."""
        if line not in self._paths:
            return
        node = self.root
        node.lines -= 1
        for token in self._paths.pop(line):
            node = node.children[token]
            node.lines -= 1
        node.line = -1


def recommend_constrained(
    folder: Path,
    prompt: str,
    lines: Sequence[str],
    n: int,
    config: Config,
    *,
    seen: Collection[str] = (),
) -> list[str]:
    """`n` different lines of `lines`, none of them in `seen`, as the checkpoint ranks them.

    Greedy within what is allowed, so the same call gives the same list. Raises InputError where
    fewer than `n` lines are left to choose from.
    """
    return constrained_list(load_checkpoint(folder), prompt, lines, n, config, seen=seen)


@torch.no_grad()
def constrained_list(
    student: Student,
    prompt: str,
    lines: Sequence[str],
    n: int,
    config: Config,
    *,
    seen: Collection[str] = (),
) -> list[str]:
    """`recommend_constrained` with a student that is already in memory."""
    left_out = set(seen)
    allowed = [line for line in dict.fromkeys(lines) if line not in left_out]
    model, tokenizer = student
    model.eval()
    tries = [Trie(sequences) for sequences in line_tokens(tokenizer, allowed)]
    left = min(map(len, tries))
    if left < n:
        raise InputError(
            f"a list of {n} needs {n} catalog items that were not seen, and {left} are left; "
            "ask for a shorter list or use a larger catalog"
        )
    reader = _Reader(model, encode_prompt(tokenizer, prompt, config.model.max_prompt_tokens))
    chosen: list[int] = []
    for rank in range(n):
        chosen.append(_walk(tries[rank == n - 1].root, reader))
        for trie in tries:
            trie.take(chosen[-1])
    return [allowed[line] for line in chosen]


def line_tokens(tokenizer: Any, lines: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of each line within a list (up to its newline), and at its end (up to the EOS)."""

    def encode(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    before = encode([_BEFORE])[0]

    def tokens(end: str) -> list[list[int]]:
        placed = encode([f"{_BEFORE}{line}{end}" for line in lines])
        alone = encode([f"{line}{end}" for line in lines])
        return [
            ids[len(before) :] if ids[: len(before)] == before else plain
            for ids, plain in zip(placed, alone, strict=True)
        ]

    return tokens("\n"), [[*ids, tokenizer.eos_token_id] for ids in tokens("")]


class _Reader:
    """A model that has read a prompt and is fed one list, with its cache."""

    def __init__(self, model: Any, prompt: Sequence[int]) -> None:
        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._unread: list[int] = list(prompt)

    def write(self, token: int) -> None:
        self._unread.append(token)

    def logits(self) -> torch.Tensor:
        """Logits of the next token (V,), after all that was written, read in one pass."""
        out = self._model(
            input_ids=torch.tensor([self._unread], device=self._model.device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._unread = []
        logits: torch.Tensor = out.logits[0, -1]
        return logits


def _walk(node: Node, reader: _Reader) -> int:
    """Write the likeliest way down to a line; where there is one way only, nothing is asked."""
    while node.line < 0:
        tokens = [token for token, child in node.children.items() if child.lines > 0]
        token = tokens[0]
        if len(tokens) > 1:
            token = tokens[int(reader.logits()[tokens].argmax())]
        reader.write(token)
        node = node.children[token]
    return node.line
