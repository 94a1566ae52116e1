"""The base class of configuration sections, and which of their keys enter an artifact id."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen section of the configuration. Unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False
    )

    later_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that enter an artifact id only with a value other than their default.

    Every key added to a section that stages already hash belongs here, so that artifacts built
    before the key existed keep their ids.
    """

    runtime_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that change how a result is computed, but not the result: in no artifact id."""

    def identity_settings(self, *keys: str, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The settings that enter an artifact id, as JSON values: `keys`, by default all keys.

        A nested section that is a later key is left out while it has no setting of its own.
        """
        values = self.model_dump(mode="json", include=set(keys) or None, exclude=set(exclude))
        settings: dict[str, Any] = {}
        for key in values:
            value = getattr(self, key)
            is_default = key in self.later_keys and value == self._default(key)
            if is_default or key in self.runtime_keys:
                continue
            is_section = isinstance(value, Section)
            settings[key] = value.identity_settings() if is_section else values[key]
        return settings

    @classmethod
    def _default(cls, key: str) -> Any:
        return cls.model_fields[key].get_default(call_default_factory=True)
