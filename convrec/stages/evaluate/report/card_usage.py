"""How to use a checkpoint without convrec: its prompt, and code for plain transformers."""

from __future__ import annotations

import json

from convrec.config import Config
from convrec.models.prompts import student_prompt
from convrec.utils.markdown import code_block

PLACE = "{conversation}"
EXAMPLE = "USER: I loved Heat (1995) and Ronin (1998). What should I watch next?"

_CODE = """\
import torch
from transformers import AutoModelForCausalLM, {tokenizer_class}

folder = {folder}  # this folder, or its name on the Hub
tokenizer = {tokenizer_class}.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)

before = {before}
after = {after}
conversation = {example}
prompt = (before + conversation + after).strip()
if tokenizer.chat_template:
    prompt = tokenizer.apply_chat_template(
        [{{"role": "user", "content": prompt}}], add_generation_prompt=True, tokenize=False
    )
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
else:
    inputs = tokenizer(prompt + "\\n\\n", return_tensors="pt")
with torch.no_grad():
    output = model.generate(
        inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens={tokens},
        {sampling}, repetition_penalty=1.0,
    )
answer = output[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))"""


def prompt_text(serving: Config) -> str:
    """The user message that the model was trained on, as a template; empty if there is none."""
    around = _around(serving)
    return PLACE.join(around) if around else ""


def usage_code(serving: Config, *, temperature: float, is_tiny: bool, folder: str = ".") -> str:
    """Code that generates one list with plain transformers; empty without a prompt to build."""
    around = _around(serving)
    if around is None:
        return ""
    sampling = (
        f"do_sample=True, temperature={temperature}, top_k=0, top_p=1.0"
        if temperature
        else "do_sample=False"
    )
    return _CODE.format(
        tokenizer_class="PreTrainedTokenizerFast" if is_tiny else "AutoTokenizer",
        folder=json.dumps(folder),
        before=json.dumps(around[0]),
        after=json.dumps(around[1]),
        example=json.dumps(EXAMPLE),
        tokens=serving.model.max_completion_tokens,
        sampling=sampling,
    )


def usage_text(serving: Config, *, temperature: float, is_tiny: bool, is_measured: bool) -> str:
    """The section of a card about use without convrec. `is_measured`: metrics have a row `free`."""
    code = usage_code(serving, temperature=temperature, is_tiny=is_tiny)
    if not code:
        return (
            "The model was trained on prompts that the data contain and that have no form in "
            "common, so a text of a user cannot be put into one."
        )
    row = "of the row `free` above" if is_measured else "that `convrec evaluate` measures as `free`"
    return (
        f"With plain transformers, the model writes a list by itself, with the quality {row}: "
        "unknown titles, seen titles and repeats can occur. `convrec recommend` excludes all "
        "three, knows the catalog, and has the quality of the row `served`.\n\n"
        f"{code_block(code).replace('```', '```python', 1)}"
    )


def _around(serving: Config) -> tuple[str, str] | None:
    """The text before and after a conversation; None if prompts have no form in common."""
    if serving.model.prompt == "given":
        return None
    before, _, after = student_prompt("\0", None, serving).partition("\0")
    return before, after
