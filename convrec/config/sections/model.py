"""The section of the student model, and the names of the samplers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from convrec.config.base import Section

SamplerName = Literal["free", "lines", "distinct", "constrained"]


class Model(Section):
    """The student model."""

    later_keys: ClassVar = frozenset({"weights"})

    base: str = Field(
        "tiny", min_length=1, description="`tiny`, `smollm2` (extra), a folder, or a Hub name."
    )
    prompt: Literal["instruct", "plain", "given"] = Field(
        "instruct",
        description="The student's prompt: an instruction with the conversation, the conversation "
        "alone, or the prompt in the data (part of the authors' schema).",
    )
    max_prompt_tokens: int = Field(512, gt=0, description="Maximum tokens of a prompt.")
    max_completion_tokens: int = Field(512, gt=0, description="Maximum tokens of a list.")
    vocabulary: int = Field(4096, ge=300, description="BPE vocabulary size of the `tiny` model.")
    hidden: int = Field(128, gt=0, description="Hidden size of the `tiny` model.")
    layers: int = Field(4, gt=0, description="Layers of the `tiny` model.")
    bf16: bool = Field(True, description="Use bf16 autocast if the hardware supports it.")
    weights: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Type of weights that are not trained: the base under adapters, and the "
        "reference model. Trained weights are float32.",
    )

    @field_validator("hidden")
    @classmethod
    def _check_heads(cls, value: int) -> int:
        unit = 2 * max(1, value // 64)  # rotary embeddings need an even width of each head
        if value % unit:
            nearest = max(2, value - value % unit)
            raise ValueError(f"must be a multiple of {unit} to be split over heads; try {nearest}")
        return value
