"""The lines of a catalog as a trie over tokens, and cursors that follow it for a batch of lists.

Nodes are integers, their edges flat arrays (compressed sparse rows), sorted by token. For each list
and node, a cursor counts the lines below that are still available; a line that was generated or is
excluded is subtracted along its path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Trie:
    """Lines in several tokenized forms: `forms[f][line]` are the tokens of a line in form f.

    Form f starts at node `roots[f]`. Within a form, no line may be a prefix of another.
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
        self.longest = max((len(t) for form in forms for t in form), default=0)
        self._build_arrays(edges, paths, size)

    def _build_arrays(
        self, edges: dict[tuple[int, int], int], paths: list[list[int]], size: int
    ) -> None:
        ordered = sorted(edges)
        parents = torch.tensor([parent for parent, _ in ordered], dtype=torch.long)
        self.edge_start = torch.zeros(size + 1, dtype=torch.long)  # (nodes + 1,)
        self.edge_start[1:] = parents.bincount(minlength=size).cumsum(0)
        self.edge_token = torch.tensor([token for _, token in ordered], dtype=torch.long)
        self.edge_child = torch.tensor([edges[edge] for edge in ordered], dtype=torch.long)
        self.path_start = torch.tensor([0, *map(len, paths)]).cumsum(0)  # (lines + 1,)
        self.path = torch.tensor([node for path in paths for node in path], dtype=torch.long)
        self.lines_below = self.path.bincount(minlength=size).to(torch.int32)  # (nodes,)
        self.line_at = torch.full((size,), -1)  # (nodes,): the line that ends there, or -1
        is_leaf = self.edge_start[self.path] == self.edge_start[self.path + 1]
        line_of_step = torch.repeat_interleave(torch.arange(len(paths)), self.path_start.diff())
        self.line_at[self.path[is_leaf]] = line_of_step[is_leaf]

    def to(self, device: torch.device) -> Trie:
        """Move the arrays to `device`; returns the trie itself."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self


class TrieCursor:
    """The positions of B lists in a trie, and the lines that each can still use.

    `rank_forms[r]` is the form of line r of N. `excluded` (B, lines) bool marks lines that a list
    must not use. `generated` (B, N) are the lines of each list so far, then -1.
    """

    def __init__(self, trie: Trie, rank_forms: Sequence[int], excluded: Tensor) -> None:
        self.trie = trie
        device = excluded.device
        roots = [trie.roots[form] for form in rank_forms]
        self._roots = torch.tensor([*roots, 0], device=device)  # (N + 1,)
        self._available = trie.lines_below.to(device).repeat(len(excluded), 1)  # (B, nodes)
        self._node = self._roots[:1].repeat(len(excluded))  # (B,)
        self._rank = torch.zeros_like(self._node)  # (B,)
        self.generated = torch.full((len(excluded), len(rank_forms)), -1, device=device)
        self._remove(*excluded.nonzero(as_tuple=True))

    def options(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What can follow in the lists `rows` (b,): token, child node and allowed, each (b, k).

        k is the largest number of edges among these lists. Entries that are not allowed are
        padding or lead to unavailable lines only.
        """
        trie, node = self.trie, self._node[rows]
        start = trie.edge_start[node]
        count = trie.edge_start[node + 1] - start
        slot = torch.arange(max(1, int(count.max())), device=rows.device)
        edge = (start[:, None] + slot).clamp(max=len(trie.edge_token) - 1)
        child = trie.edge_child[edge]
        allowed = (slot < count[:, None]) & (self._available[rows[:, None], child] > 0)
        return trie.edge_token[edge], child, allowed

    def advance(self, rows: Tensor, child: Tensor) -> Tensor:
        """Move each of `rows` to its `child` (b,), and to the next line's root at a line's end.

        Returns which lists are complete: (b,) bool.
        """
        line = self.trie.line_at[child]
        at_end = line >= 0
        ended, line = rows[at_end], line[at_end]
        self._node[rows] = child
        self.generated[ended, self._rank[ended]] = line
        self._rank[ended] += 1
        self._node[ended] = self._roots[self._rank[ended]]
        self._remove(ended, line)
        return self._rank[rows] == self.generated.shape[1]

    def ranks(self, rows: Tensor) -> Tensor:
        """The number of complete lines of these lists: (b,)."""
        return self._rank[rows]

    def _remove(self, rows: Tensor, lines: Tensor) -> None:
        """Make line `lines[i]` unavailable to list `rows[i]`; each pair at most once."""
        trie = self.trie
        start = trie.path_start[lines]
        count = trie.path_start[lines + 1] - start
        pair = torch.repeat_interleave(torch.arange(len(lines), device=lines.device), count)
        before = count.cumsum(0) - count
        offset = torch.arange(len(pair), device=lines.device) - before[pair]
        minus = torch.full((len(pair),), -1, dtype=self._available.dtype, device=lines.device)
        nodes = trie.path[start[pair] + offset]
        self._available.index_put_((rows[pair], nodes), minus, accumulate=True)


def unique_lines(forms: Sequence[Sequence[Sequence[int]]]) -> list[int]:
    """Indices of the lines that share their tokens with no earlier kept line in any form."""
    used: set[tuple[int, tuple[int, ...]]] = set()
    unique = []
    for line in range(len(forms[0])):
        tokens = {(i, tuple(form[line])) for i, form in enumerate(forms)}
        if used.isdisjoint(tokens):
            unique.append(line)
            used |= tokens
    return unique
