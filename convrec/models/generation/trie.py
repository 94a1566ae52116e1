"""The lines of a catalog as a trie over tokens, in flat arrays, and lists that walk along it.

Nodes are numbers. The edges out of a node are next to each other (compressed rows), sorted by
token, so what may follow in a batch of lists is one index operation, whatever the vocabulary. Each
list counts, for every node, the lines below that it may still write; a line that was written or was
seen leaves the counts along its path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Trie:
    """Lines, each in several forms: `forms[f][line]` are the tokens of a line in form f.

    Form f begins at node `roots[f]`. Forms that are equal share their nodes. In each form, no
    line's tokens may begin another's (see `distinct`).
    """

    def __init__(self, forms: Sequence[Sequence[Sequence[int]]]) -> None:
        edges: dict[tuple[int, int], int] = {}
        self.roots = [next(g for g, other in enumerate(forms) if other == form) for form in forms]
        paths: list[list[int]] = [[] for _ in range(len(forms[0]))]
        size = len(forms)
        for root in sorted(set(self.roots)):
            for path, tokens in zip(paths, forms[root], strict=True):
                node = root
                path.append(node)
                for token in tokens:
                    node = edges.setdefault((node, token), size)
                    size += node == size
                    path.append(node)
        self.lines = len(paths)
        self.longest = max((len(t) for form in forms for t in form), default=0)
        self._lay_out(edges, paths, size)

    def _lay_out(
        self,
        edges: dict[tuple[int, int], int],
        paths: list[list[int]],
        size: int,
    ) -> None:
        ordered = sorted(edges)
        parents = torch.tensor([parent for parent, _ in ordered], dtype=torch.long)
        self.first = torch.zeros(size + 1, dtype=torch.long)
        self.first[1:] = parents.bincount(minlength=size).cumsum(0)
        self.token = torch.tensor([token for _, token in ordered], dtype=torch.long)
        self.child = torch.tensor([edges[edge] for edge in ordered], dtype=torch.long)
        self.line = torch.full((size,), -1)
        self.path_first = torch.tensor([0, *map(len, paths)]).cumsum(0)
        self.path = torch.tensor([node for path in paths for node in path], dtype=torch.long)
        below = self.path.bincount(minlength=size)
        self.below = below.to(torch.int32)
        leaf = self.first[self.path] == self.first[self.path + 1]
        of = torch.repeat_interleave(torch.arange(len(paths)), self.path_first.diff())
        self.line[self.path[leaf]] = of[leaf]

    def to(self, device: torch.device) -> Trie:
        """The trie itself, its arrays on `device`."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self


class Walk:
    """B lists on their way through a trie: where each is, and what it may still write.

    `ranks[r]` is the form of a list's line r. `closed` (B, lines) marks lines that a list may not
    write from the start. `written` (B, N) are the lines that it has written, -1 for those to come.
    """

    def __init__(self, trie: Trie, ranks: Sequence[int], closed: Tensor) -> None:
        self.trie = trie
        device = closed.device
        self._roots = torch.tensor([*(trie.roots[form] for form in ranks), 0], device=device)
        self.left = trie.below.to(device).repeat(len(closed), 1)
        self.node = self._roots[:1].repeat(len(closed))
        self.rank = torch.zeros_like(self.node)
        self.written = torch.full((len(closed), len(ranks)), -1, device=device)
        self._take(*closed.nonzero(as_tuple=True))

    def options(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens that may follow in the lists `rows` (b,): token, node and allowed, each (b, k).

        k is the widest list's number of edges; what is not allowed must not be read further.
        """
        trie, node = self.trie, self.node[rows]
        start = trie.first[node]
        count = trie.first[node + 1] - start
        slot = torch.arange(max(1, int(count.max())), device=rows.device)
        edge = (start[:, None] + slot).clamp(max=len(trie.token) - 1)
        child = trie.child[edge]
        allowed = (slot < count[:, None]) & (self.left[rows[:, None], child] > 0)
        return trie.token[edge], child, allowed

    def step(self, rows: Tensor, child: Tensor) -> Tensor:
        """Each of `rows` goes to its `child` (b,), and to the next line's root where a line ends.

        Returns which lists are complete: (b,).
        """
        line = self.trie.line[child]
        done = line >= 0
        ended, line = rows[done], line[done]
        self.node[rows] = child
        self.written[ended, self.rank[ended]] = line
        self.rank[ended] += 1
        self.node[ended] = self._roots[self.rank[ended]]
        self._take(ended, line)
        return self.rank[rows] == self.written.shape[1]

    def _take(self, rows: Tensor, lines: Tensor) -> None:
        """Never allow these lines again: row by row, no pair twice."""
        trie = self.trie
        start = trie.path_first[lines]
        count = trie.path_first[lines + 1] - start
        pair = torch.repeat_interleave(torch.arange(len(lines), device=lines.device), count)
        before = count.cumsum(0) - count
        offset = torch.arange(len(pair), device=lines.device) - before[pair]
        minus = torch.full((len(pair),), -1, dtype=self.left.dtype, device=lines.device)
        nodes = trie.path[start[pair] + offset]
        self.left.index_put_((rows[pair], nodes), minus, accumulate=True)


def distinct(forms: Sequence[Sequence[Sequence[int]]]) -> list[int]:
    """The lines (by number) whose tokens no earlier line has, in any form."""
    taken: list[set[tuple[int, ...]]] = [set() for _ in forms]
    kept = []
    for line in range(len(forms[0])):
        own = [tuple(form[line]) for form in forms]
        if all(tokens not in seen for tokens, seen in zip(own, taken, strict=True)):
            kept.append(line)
            for tokens, seen in zip(own, taken, strict=True):
                seen.add(tokens)
    return kept
