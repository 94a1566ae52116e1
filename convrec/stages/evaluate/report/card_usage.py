"""How to use a checkpoint without convrec: its prompt, and code for plain transformers."""

from __future__ import annotations

import json

from convrec.config import Config
from convrec.models.prompts import student_prompt
from convrec.utils.markdown import code_block

PLACE = "{conversation}"
EXAMPLE = "USER: I loved Heat (1995) and Ronin (1998). What should I watch next?"

_CODE = """\
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {folder}  # that of `convrec export`, or huggingface_hub.snapshot_download(NAME)
sys.path.append(folder)
from catalog_lists import CatalogLists

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
lists = CatalogLists(tokenizer, folder + "/catalog.jsonl")

n = {n}
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
        inputs["input_ids"], attention_mask=inputs["attention_mask"], do_sample=False,
        repetition_penalty=1.0, max_new_tokens=lists.max_new_tokens(n),
        logits_processor=[lists.processor([conversation], n)],
    )
answer = output[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))"""


def prompt_text(serving: Config) -> str:
    """The user message that the model was trained on, as a template; empty if there is none."""
    around = _around(serving)
    return PLACE.join(around) if around else ""


def usage_code(serving: Config, *, folder: str = ".") -> str:
    """Code that generates one list with plain transformers; empty without a prompt to build."""
    around = _around(serving)
    if around is None:
        return ""
    return _CODE.format(
        folder=json.dumps(folder),
        n=serving.list_length,
        before=json.dumps(around[0]),
        after=json.dumps(around[1]),
        example=json.dumps(EXAMPLE),
    )


def usage_text(serving: Config) -> str:
    """The section of a card about use without convrec."""
    code = usage_code(serving)
    if not code:
        return (
            "The model was trained on prompts that the data contain and that have no form in "
            "common, so a text of a user cannot be put into one."
        )
    fence, _, rest = code_block(code).partition("\n")
    return (
        "`convrec export` puts `catalog_lists.py` and `catalog.jsonl` next to the model. With "
        "them, plain transformers writes the lists of `convrec recommend`, with the quality of "
        "the row `served`: different items of the catalog that the conversation does not name."
        f"\n\n{fence}python\n{rest}\n\n"
        "Without the logits processor, the model writes a list by itself, with the quality of the "
        "row `free` at its temperature (`do_sample=True, top_k=0, top_p=1.0, "
        f"max_new_tokens={serving.model.max_completion_tokens}`): unknown titles, seen titles and "
        "repeats can occur."
    )


def _around(serving: Config) -> tuple[str, str] | None:
    """The text before and after a conversation; None if prompts have no form in common."""
    if serving.model.prompt == "given":
        return None
    before, _, after = student_prompt("\0", None, serving).partition("\0")
    return before, after
