from __future__ import annotations

import pytest

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.generation.catalog_constrained import FromCatalog
from convrec.models.generation.constraints import EndAtLines, Free
from convrec.models.generation.distinct import DistinctLines
from convrec.models.generation.samplers import Sampler, sampler_for
from convrec.models.load import Student

FILMS = ["Heat (1995)", "Alien (1979)", "Big (1988)", "Up (2009)"]


def test_a_sampler_by_its_name(student: Student) -> None:
    config = Config.model_validate({"list_length": 2, "model": {"max_completion_tokens": 40}})
    assert config.rank_grpo.sampler == config.evaluate.sampler == "distinct"
    free = sampler_for("free", student.tokenizer, config)
    lines = sampler_for("lines", student.tokenizer, config)
    assert type(free.rule([])) is Free
    assert type(lines.rule([])) is EndAtLines
    assert isinstance(sampler_for("distinct", student.tokenizer, config).rule([]), DistinctLines)
    assert (free.helps, lines.helps, lines.n, lines.most_tokens) == (False, True, 2, 40)


def test_the_constrained_sampler_knows_what_each_prompt_has_seen(student: Student) -> None:
    config = Config.model_validate({"list_length": 2, "model": {"max_completion_tokens": 3}})
    rows = [
        {"prompt": [5, 6], "seen": [{"title": "Heat", "year": 1995}]},
        {"prompt": [5, 6], "seen": [{"title": "ALIEN", "year": None}]},
        {"prompt": [7], "seen": None},
    ]
    sampler = sampler_for("constrained", student.tokenizer, config, lines=FILMS, rows=rows)
    closed = sampler.closed([[7], [5, 6], [1]])
    assert closed.int().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert isinstance(sampler.rule([[7]]), FromCatalog)
    assert sampler.most_tokens > 3
    small = sampler_for("constrained", student.tokenizer, config, lines=FILMS[:3], rows=rows)
    with pytest.raises(InputError, match=r"a list of 2 needs 2 .* and 1 are left"):
        small.rule([[5, 6]])


def test_constrained_without_a_catalog_is_refused(student: Student) -> None:
    with pytest.raises(InputError, match="needs a catalog"):
        Sampler("constrained", student.tokenizer, 2, 40)
