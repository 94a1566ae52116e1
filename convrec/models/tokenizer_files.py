"""What a folder's tokenizer files say, read without transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from convrec.errors import InputError
from convrec.models.files import read_json_if_any, read_json_object

DATE_PREFIX = '{{% set date_string = "{}" %}}'
"""How a chat template of a checkpoint begins that writes a day."""

_DATE_PREFIX = re.compile(r'\{% set date_string = "([^"]*)" %\}')
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")


def template_date(template: str) -> str:
    """The day that a chat template begins with, as it writes it; empty if it has none."""
    found = _DATE_PREFIX.match(template)
    return found[1] if found else ""


def checkpoint_date(folder: Path) -> str:
    """The day that prompts of a checkpoint contain; empty for a template that writes none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return template_date(path.read_text(encoding="utf-8"))
    template = read_json_if_any(folder / "tokenizer_config.json").get("chat_template")
    return template_date(template) if isinstance(template, str) else ""


def starts_with_special_token(folder: Path) -> bool:
    """Whether prompts start with a special token (BOS) that no chat template brings.

    False for files that cannot be read; loading the tokenizer reports those.
    """
    try:
        settings = read_json_if_any(folder / "tokenizer_config.json")
        if settings.get("chat_template") or any((folder / name).exists() for name in _TEMPLATES):
            return False
        if (folder / "tokenizer.json").is_file():
            tokenizer = read_json_object(folder / "tokenizer.json")
            return bool(settings.get("add_bos_token")) or _adds_first(
                tokenizer.get("post_processor")
            )
        has_sentencepiece = (folder / "tokenizer.model").is_file()
        return bool(settings.get("add_bos_token", has_sentencepiece))
    except InputError:
        return False


def _adds_first(processor: Any) -> bool:
    """Whether a post-processor of the tokenizers library puts a special token in front."""
    if not isinstance(processor, dict):
        return False
    match processor.get("type"):
        case "Sequence":
            return any(map(_adds_first, processor.get("processors") or ()))
        case "TemplateProcessing":
            return "SpecialToken" in (processor.get("single") or [{}])[0]
        case "BertProcessing" | "RobertaProcessing":
            return True
    return False
