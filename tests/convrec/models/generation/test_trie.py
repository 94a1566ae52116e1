"""The flat trie against sets of lines: what may follow, whatever was taken and closed."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.models.generation.trie import Trie, Walk, distinct

END = 9
LINES = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda ids: (*ids, END)),
    min_size=2,
    max_size=8,
    unique=True,
)


def following(lines: set[tuple[int, ...]], written: tuple[int, ...]) -> set[int]:
    size = len(written)
    return {line[size] for line in lines if line[:size] == written}


@settings(deadline=None, max_examples=60)
@given(lines=LINES, data=st.data())
def test_options_are_what_follows_in_the_lines_that_are_left(
    lines: list[tuple[int, ...]], data: st.DataObject
) -> None:
    reverse = [(*line[-2::-1], END) for line in lines]  # another form, as a first line may have
    forms = [reverse, lines]
    closed = torch.zeros(2, len(lines), dtype=torch.bool)
    closed[1, data.draw(st.integers(0, len(lines) - 1))] = True
    n = len(lines) - 1
    walk = Walk(Trie(forms), [0] + [1] * (n - 1), closed)
    for row in range(2):
        left = {i for i in range(len(lines)) if not closed[row, i]}
        for rank in range(n):
            form = forms[min(rank, 1)]
            written: tuple[int, ...] = ()
            while not written or written[-1] != END:
                tokens, child, allowed = walk.options(torch.tensor([row]))
                expected = following({form[i] for i in left}, written)
                assert tokens[allowed].tolist() == sorted(expected)
                slot = data.draw(st.sampled_from(allowed[0].nonzero().flatten().tolist()))
                written += (int(tokens[0, slot]),)
                complete = walk.step(torch.tensor([row]), child[:, slot])
            line = form.index(written)
            left.remove(line)
            assert walk.written[row, rank] == line
            assert bool(complete) == (rank == n - 1)


def test_forms_that_are_equal_share_their_nodes() -> None:
    lines = [(1, 2, END), (1, 3, END)]
    assert Trie([lines, lines]).roots == [0, 0]
    assert len(Trie([lines, lines]).below) == len(Trie([lines]).below) + 1
    assert Trie([lines, [line[1:] for line in lines]]).roots == [0, 1]


def test_lines_with_the_same_tokens_in_any_form_are_one() -> None:
    assert distinct([[(1,), (2,), (1,), (3,)], [(4,), (4,), (5,), (6,)]]) == [0, 3]
