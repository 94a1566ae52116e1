"""How a wish is put into words."""

from __future__ import annotations

import random
from collections.abc import Sequence

from convrec.demo.wish import EVER, Refusal, Wish
from convrec.demo.world import Work, World

ATTACHED = 0.5
"""Probability that a refusal is part of the request and no sentence of its own."""
OPENER, CLOSING, DATED, ALIAS, LOWER_CASE = 0.6, 0.4, 0.3, 0.08, 0.1


def write_post(
    world: World, wish: Wish, liked: Sequence[Work], rng: random.Random, *, relative: str = ""
) -> str:
    """A post that states the wish.

    The genres of the wish are those of the `liked` works if `relative` is set: "same", or "newer"
    or "older" than the first of them.
    """
    parts = [rng.choice(world.phrases["openers"])] if rng.random() < OPENER else []
    works = _format_works(world, liked, rng)
    refusals = _write_refusals(world, wish.refused, rng)
    ending = f", {refusals.pop(0)}" if refusals and refusals[0][0].islower() else ""
    if relative:
        if relative != "same":
            works += f", but {rng.choice(world.phrases[relative])}"
        parts.append(rng.choice(world.phrases["likes"]).format(works=works + ending))
    else:
        if liked:
            parts.append(rng.choice(world.phrases["liked"]).format(works=works))
        phrase = _write_conditions(world, wish, rng) + ending
        parts.append(rng.choice(world.phrases["asks"]).format(wish=phrase))
    parts += refusals
    if wish.mood:
        word = rng.choice(world.moods[wish.mood])
        parts.append(rng.choice(world.phrases["moods_asked"]).format(what=word))
    if wish.person:
        parts.append(rng.choice(world.phrases["people_asked"]).format(what=wish.person))
    if rng.random() < CLOSING:
        parts.append(rng.choice(world.phrases["closings"]))
    text = " ".join(parts)
    return text.lower() if rng.random() < LOWER_CASE else text


def _write_conditions(world: World, wish: Wish, rng: random.Random) -> str:
    """The genres and years of a wish: "laughs and gangsters from the nineties"."""
    words = [rng.choice(world.genres[genre]) for genre in sorted(wish.genres)]
    rng.shuffle(words)
    text = words[0]
    if len(words) > 1:
        text = rng.choice(world.phrases["joins"]).format(a=words[0], b=words[1])
    first, last = wish.years
    if wish.years == EVER:
        return text
    if wish.years[1] == EVER[1]:
        return f"{text} {rng.choice(world.phrases['after']).format(year=first - 1)}"
    if wish.years[0] == EVER[0]:
        return f"{text} {rng.choice(world.phrases['before']).format(year=last + 1)}"
    era = next(era for era in world.eras.values() if (era.first, era.last) == wish.years)
    return f"{text} {rng.choice(world.phrases['dates']).format(what=rng.choice(era.words))}"


def _write_refusals(world: World, refused: Refusal, rng: random.Random) -> list[str]:
    """Sentences that rule something out; the first may be the end of another sentence."""
    eras = [e.words for e in world.eras.values() if (e.first, e.last) in refused.years]
    named = [
        *(("genre", world.genres[genre]) for genre in sorted(refused.genres)),
        *(("era", words) for words in eras),
        *(("mood", world.moods[mood]) for mood in sorted(refused.moods)),
        *(("person", (person,)) for person in sorted(refused.people)),
    ]
    rng.shuffle(named)
    sentences = []
    for index, (kind, words) in enumerate(named):
        attached = _ATTACHED_FORMS.get(kind) if index == 0 else None
        key = attached if attached and rng.random() < ATTACHED else kind
        sentences.append(rng.choice(world.refusals[key]).format(what=rng.choice(words)))
    return sentences


_ATTACHED_FORMS = {"genre": "attached", "era": "attached_era"}


def _format_works(world: World, works: Sequence[Work], rng: random.Random) -> str:
    form = world.dated if rng.random() < DATED else "{title}"
    titles = [_format_work(work, form, rng) for work in works]
    return " and ".join(titles)


def _format_work(work: Work, form: str, rng: random.Random) -> str:
    title = rng.choice((work.title, *work.aliases)) if rng.random() < ALIAS else work.title
    return form.format(title=title, year=work.year, people=work.people[0])
