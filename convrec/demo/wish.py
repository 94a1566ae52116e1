"""What a poster wants: a conjunction of constraints, some of them negative.

Genres, years and everything refused are conditions. A mood and a person are preferences: works with
them are recommended more often, others are not ruled out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from convrec.demo.world import Work

MOOD_WEIGHT, PERSON_WEIGHT = 4.0, 4.0
"""How many times more often a work with the mood or person asked for is recommended."""

Years = tuple[int, int]
"""First and last year, both included."""

EVER: Years = (0, 9999)


@dataclass(frozen=True)
class Refusal:
    """What is ruled out: works with one of these genres, moods, people or ranges of years."""

    genres: frozenset[str] = frozenset()
    moods: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    years: frozenset[Years] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.genres or self.moods or self.people or self.years)

    def __or__(self, other: Refusal) -> Refusal:
        return Refusal(
            self.genres | other.genres,
            self.moods | other.moods,
            self.people | other.people,
            self.years | other.years,
        )

    def covers(self, work: Work) -> bool:
        """Whether the work is ruled out."""
        return (
            not self.genres.isdisjoint(work.genres)
            or work.mood in self.moods
            or not self.people.isdisjoint(work.people)
            or any(first <= work.year <= last for first, last in self.years)
        )


@dataclass(frozen=True)
class Wish:
    """All `genres`, a year in `years`, nothing of `refused`; better with `mood` and `person`."""

    genres: frozenset[str] = frozenset()
    years: Years = EVER
    mood: str = ""
    person: str = ""
    refused: Refusal = field(default_factory=Refusal)

    def allows(self, work: Work) -> bool:
        """Whether the work meets every condition."""
        return (
            self.genres <= work.genres
            and self.years[0] <= work.year <= self.years[1]
            and not self.refused.covers(work)
        )

    def preference(self, work: Work) -> float:
        """How much better the work is than one without the mood and person asked for."""
        mood = MOOD_WEIGHT if self.mood and self.mood == work.mood else 1.0
        return mood * (PERSON_WEIGHT if self.person in work.people else 1.0)
