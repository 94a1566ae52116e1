"""An exported folder with plain transformers: the same ids, the same lists as `recommend`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from convrec.artifacts import Store
from convrec.models.generation.recommend import ServedCatalog, recommend_texts
from convrec.models.load import load_checkpoint
from convrec.models.plain_tokenizer import PROBE, auto_tokenizer_agrees
from convrec.models.prompts import encode_student_prompt, served_prompt
from convrec.serving.export import export_checkpoint
from convrec.serving.exported.catalog_lists import CatalogLists
from convrec.serving.recommend import recommend
from convrec.stages.evaluate.report.card_usage import EXAMPLE
from tests.support.served_checkpoint import CONFIG, ITEMS, put_served_checkpoint

TEXTS = [
    "I loved Alien and heat. What else?",
    "Aliens (1986), Heat (1995) and “It’s a  Wonderful Life”",
    "Heat (1971) or Up",
    "what's up with blade runner; the thing?",
    "",
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str, Path]:
    store = Store(tmp_path_factory.mktemp("served") / "home")
    name = put_served_checkpoint(store)
    return store, name, export_checkpoint(store, name, tmp_path_factory.mktemp("out") / "model")


def test_auto_tokenizer_gives_the_ids_of_the_training(exported: tuple[Store, str, Path]) -> None:
    store, name, folder = exported
    trained = load_checkpoint(store.folder(name))
    assert not auto_tokenizer_agrees(store.folder(name))
    loaded = AutoTokenizer.from_pretrained(folder)
    for text in (PROBE, *TEXTS, trained.tokenizer.eos_token):
        assert loaded(text).input_ids == trained.tokenizer(text).input_ids
    ids = torch.tensor([loaded(PROBE).input_ids])
    logits = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    assert torch.equal(logits, trained.model(ids).logits)


def test_the_named_lines_are_those_of_recommend(exported: tuple[Store, str, Path]) -> None:
    folder = exported[2]
    lists = CatalogLists(AutoTokenizer.from_pretrained(folder), folder / "catalog.jsonl")
    catalog = ServedCatalog(ITEMS, CONFIG.line_format)
    for text in TEXTS:
        assert {lists.lines[i] for i in lists.named(text)} == catalog.named(text), text
    assert catalog.named(TEXTS[1]) == {
        "Aliens (1986)",
        "Heat (1995)",
        "It's a Wonderful Life (1946)",
    }


@pytest.mark.parametrize("n", [1, 2, 4])
def test_generate_writes_the_measured_lists(exported: tuple[Store, str, Path], n: int) -> None:
    store, name, folder = exported
    student = load_checkpoint(store.folder(name))
    catalog = ServedCatalog(ITEMS, CONFIG.line_format)
    expected = recommend_texts(student, catalog, TEXTS, CONFIG, n=n)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    lists = CatalogLists(tokenizer, folder / "catalog.jsonl")
    prompts = [served_prompt(text, CONFIG) for text in TEXTS]
    ids = [encode_student_prompt(student.tokenizer, prompt, CONFIG) for prompt in prompts]
    batch = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
    output = model.generate(
        **batch,
        do_sample=False,
        max_new_tokens=lists.max_new_tokens(n),
        logits_processor=[lists.processor(TEXTS, n)],
    )
    answers = output[:, batch["input_ids"].shape[1] :]
    written = [text.split("\n") for text in tokenizer.batch_decode(answers, True)]
    assert written == expected
    assert len({tuple(lines) for lines in written}) > 1


def test_a_conversation_that_leaves_too_few_is_refused(exported: tuple[Store, str, Path]) -> None:
    folder = exported[2]
    lists = CatalogLists(AutoTokenizer.from_pretrained(folder), folder / "catalog.jsonl")
    with pytest.raises(ValueError, match="fewer than 10 are left"):
        lists.processor(["I loved Ronin"], 10)


def test_the_code_of_the_card_runs_without_convrec(
    exported: tuple[Store, str, Path], tmp_path: Path
) -> None:
    store, name, folder = exported
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = card.partition("```python\n")[2].partition("\n```")[0]
    blocked = "import sys\nsys.modules['convrec'] = None\n"
    script = tmp_path / "snippet.py"
    script.write_text(blocked + code, encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-P", str(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert answer.stdout.splitlines() == recommend(store, name, EXAMPLE).items
