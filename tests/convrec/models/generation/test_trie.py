"""The flat trie compared with sets of lines."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.models.generation.trie import Trie, TrieCursor, unique_lines

END = 9
LINES = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda ids: (*ids, END)),
    min_size=2,
    max_size=8,
    unique=True,
)


def following(lines: set[tuple[int, ...]], prefix: tuple[int, ...]) -> set[int]:
    size = len(prefix)
    return {line[size] for line in lines if line[:size] == prefix}


@settings(deadline=None, max_examples=60)
@given(lines=LINES, data=st.data())
def test_options_are_those_of_the_available_lines(
    lines: list[tuple[int, ...]], data: st.DataObject
) -> None:
    reverse = [(*line[-2::-1], END) for line in lines]  # another form, like that of a first line
    forms = [reverse, lines]
    excluded = torch.zeros(2, len(lines), dtype=torch.bool)
    excluded[1, data.draw(st.integers(0, len(lines) - 1))] = True
    n = len(lines) - 1
    cursor = TrieCursor(Trie(forms), [0] + [1] * (n - 1), excluded)
    for row in range(2):
        available = {i for i in range(len(lines)) if not excluded[row, i]}
        for rank in range(n):
            form = forms[min(rank, 1)]
            prefix: tuple[int, ...] = ()
            while not prefix or prefix[-1] != END:
                tokens, child, allowed = cursor.options(torch.tensor([row]))
                expected = following({form[i] for i in available}, prefix)
                assert tokens[allowed].tolist() == sorted(expected)
                slot = data.draw(st.sampled_from(allowed[0].nonzero().flatten().tolist()))
                prefix += (int(tokens[0, slot]),)
                complete = cursor.advance(torch.tensor([row]), child[:, slot])
            line = form.index(prefix)
            available.remove(line)
            assert cursor.generated[row, rank] == line
            assert bool(complete) == (rank == n - 1)


def test_equal_forms_share_their_nodes() -> None:
    lines = [(1, 2, END), (1, 3, END)]
    assert Trie([lines, lines]).roots == [0, 0]
    assert len(Trie([lines, lines]).lines_below) == len(Trie([lines]).lines_below) + 1
    assert Trie([lines, [line[1:] for line in lines]]).roots == [0, 1]


def test_lines_with_the_same_tokens_in_any_form_are_one() -> None:
    assert unique_lines([[(1,), (2,), (1,), (3,)], [(4,), (4,), (5,), (6,)]]) == [0, 3]
