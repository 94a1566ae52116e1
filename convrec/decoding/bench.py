"""How fast a checkpoint writes: `python -m convrec.decoding.bench FOLDER`.

One line each for the project's decode loop and for `generate` of transformers, on the same prompts,
batch and temperature: tokens a second, and seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from convrec.decoding.sampling import sample_batch, uniforms
from convrec.sft.prompts import encode_prompt
from convrec.sft.student import Student, load_checkpoint

_SENTENCE = "Something like the last one I liked but a little shorter please"


def prompts(student: Student, count: int) -> list[list[int]]:
    """Encoded prompts of 3 to 12 words."""
    words = _SENTENCE.split()
    texts = [" ".join(words[: 3 + i % 10]) for i in range(count)]
    return [encode_prompt(student.tokenizer, text, 512) for text in texts]


def own(student: Student, encoded: list[list[int]], samples: int, tokens: int) -> int:
    """Tokens written by this project's loop."""
    draws = uniforms(len(encoded) * samples, tokens, 0)
    return sum(map(len, sample_batch(*student, encoded, samples=samples, draws=draws)))


@torch.no_grad()
def stock(student: Student, encoded: list[list[int]], samples: int, tokens: int) -> int:
    """Tokens written by `generate` of transformers."""
    model, tokenizer = student
    batch = tokenizer.pad({"input_ids": encoded}, return_tensors="pt").to(model.device)
    length = batch["input_ids"].shape[1]
    written = model.generate(
        **batch, do_sample=True, top_k=0, num_return_sequences=samples, max_new_tokens=tokens
    )[:, length:]
    ends = (written == tokenizer.eos_token_id).int()
    return int(((ends.cumsum(1) - ends) == 0).sum())


def main() -> None:
    """Print both speeds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="checkpoint folder")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of a list")
    options = parser.parse_args()
    student = load_checkpoint(options.folder)
    student.tokenizer.padding_side = "left"
    encoded = prompts(student, options.prompts)
    for name, write in (("convrec", own), ("generate", stock)):
        started = time.perf_counter()
        count = write(student, encoded, options.samples, options.tokens)
        seconds = time.perf_counter() - started
        print(f"{name:10} {count / seconds:8,.0f} tokens/s  {seconds:6.2f} s  {count} tokens")


if __name__ == "__main__":
    main()
