"""Save the student as a plain transformers folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.models.load import Student
from convrec.models.progress_bars import hide_progress_bars


def save_student(student: Student, folder: Path) -> Any:
    """Write weights (safetensors, adapters merged) and tokenizer; returns the merged model."""
    model = student.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    with hide_progress_bars():
        model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    return model
