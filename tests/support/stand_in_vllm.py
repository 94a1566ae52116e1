"""A module `vllm` that answers each prompt with its own tokens, for tests without vLLM."""

from __future__ import annotations

from pathlib import Path

MODULE = """
import json, os

class SamplingParams:
    def __init__(self, **settings):
        self.settings = settings

class Output:
    def __init__(self, ids):
        self.outputs = [type("Completion", (), {"token_ids": ids})()]

class LLM:
    def __init__(self, **settings):
        if settings["max_model_len"] > 2048:
            raise ValueError("the model has fewer positions")
        self.settings = settings

    def generate(self, prompts, settings, use_tqdm):
        print("some output of vLLM")
        with open(os.environ["STAND_IN_CALLS"], "a") as file:
            call = {"engine": self.settings, "sampling": [s.settings for s in settings]}
            call["device"] = os.environ.get("CUDA_VISIBLE_DEVICES")
            file.write(json.dumps(call) + "\\n")
        return [Output(self.answer(p["prompt_token_ids"], s)) for p, s in zip(prompts, settings)]

    def answer(self, ids, settings):
        if settings.settings["seed"] % 2:
            return (ids * 100)[: settings.settings["max_tokens"]]
        return [*ids[:5], *settings.settings["stop_token_ids"]]
"""
"""A list with an even seed ends after five tokens of its prompt, any other one is cut."""


def write_stand_in(folder: Path) -> Path:
    """Write the module to a folder, for PYTHONPATH; returns the file that it logs calls to."""
    (folder / "vllm.py").write_text(MODULE, encoding="utf-8")
    return folder / "calls.jsonl"
