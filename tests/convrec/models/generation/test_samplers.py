from __future__ import annotations

import pytest

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.generation.catalog_constraint import CatalogConstraint
from convrec.models.generation.distinct import DistinctLines
from convrec.models.generation.samplers import Sampler, make_sampler
from convrec.models.generation.without_catalog import StopAfterLines, Unconstrained
from convrec.models.load import Student

FILMS = ["Heat (1995)", "Alien (1979)", "Big (1988)", "Up (2009)"]


def test_a_sampler_by_name(student: Student) -> None:
    config = Config.model_validate({"list_length": 2, "model": {"max_completion_tokens": 40}})
    assert config.rank_grpo.sampler == config.evaluate.sampler == "distinct"
    free = make_sampler("free", student.tokenizer, config)
    lines = make_sampler("lines", student.tokenizer, config)
    assert type(free.constraint([])) is Unconstrained
    assert type(lines.constraint([])) is StopAfterLines
    assert isinstance(
        make_sampler("distinct", student.tokenizer, config).constraint([]), DistinctLines
    )
    assert (free.forces_tokens, lines.forces_tokens, lines.n, lines.max_tokens) == (
        False,
        True,
        2,
        40,
    )


def test_constrained_excludes_what_each_prompt_has_seen(student: Student) -> None:
    config = Config.model_validate({"list_length": 2, "model": {"max_completion_tokens": 3}})
    rows = [
        {"prompt": [5, 6], "seen": [{"title": "Heat", "year": 1995}]},
        {"prompt": [5, 6], "seen": [{"title": "ALIEN", "year": None}]},
        {"prompt": [7], "seen": None},
    ]
    sampler = make_sampler("constrained", student.tokenizer, config, lines=FILMS, rows=rows)
    excluded = sampler.excluded([[7], [5, 6], [1]])
    assert excluded.int().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert isinstance(sampler.constraint([[7]]), CatalogConstraint)
    assert sampler.max_tokens > 3
    small = make_sampler("constrained", student.tokenizer, config, lines=FILMS[:3], rows=rows)
    with pytest.raises(InputError, match=r"a list of 2 needs 2 unseen .* only 1 are left"):
        small.constraint([[5, 6]])


def test_constrained_without_a_catalog_is_refused(student: Student) -> None:
    with pytest.raises(InputError, match="needs a catalog"):
        Sampler("constrained", student.tokenizer, 2, 40)
