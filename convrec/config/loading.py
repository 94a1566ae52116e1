"""Profiles and overrides become a configuration, or one sentence that says what is wrong.

Overrides are either dotted (`rank_grpo.steps=40`) or nested (`{"rank_grpo": {"steps": 40}}`).
Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from convrec.config.paths import profiles, resolve_path
from convrec.config.schema import Config
from convrec.errors import ConfigError


def load(profile: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a profile, by shipped name or path to a TOML file, and apply overrides.

    Raises ConfigError for an unknown profile, unreadable TOML, an unknown key or a bad value.
    """
    path = _profile_path(profile)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); mend that line") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep for a profile") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
    values.setdefault("profile", path.stem)
    if isinstance(values.get("domain"), str):
        values["domain"] = {"noun": values["domain"]}
    for key, value in (overrides or {}).items():
        named = key == "domain" and isinstance(value, str)
        _merge(values, ["domain", "noun"] if named else str(key).split("."), value)
    try:
        loaded = Config.model_validate(values)
        loaded.model_dump_json()
    except ValidationError as error:
        raise ConfigError(_explain(error, path.stem)) from None
    except PydanticSerializationError:
        raise ConfigError("an override holds half a character; type its value again") from None
    return loaded


def _profile_path(profile: str) -> Path:
    shipped = profiles()
    if profile in shipped:
        return shipped[profile]
    path = resolve_path(profile, "PROFILE")
    if path.suffix == ".toml" and path.is_file():
        return path
    raise ConfigError(
        f"no profile {profile!r}: give one of {', '.join(shipped)}, or the path of a .toml file"
    )


def _merge(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(keys)}: {key} is a value, not a section")
        values = inner
    last = keys[-1]
    if isinstance(value, Mapping) and isinstance(values.get(last), dict):
        for key, inner in value.items():
            _merge(values[last], str(key).split("."), inner)
    else:
        values[last] = value


def _explain(error: ValidationError, profile: str) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the configuration"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = list(_keys(Config))
        near = difflib.get_close_matches(where, known, n=1, cutoff=0.5)
        section = where[: where.rfind(".") + 1]
        inner = [k.removeprefix(section).partition(".") for k in known if k.startswith(section)]
        allowed = dict.fromkeys(f"{section}{name}{'.*' if dot else ''}" for name, dot, _ in inner)
        hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(allowed or known)}"
        return f"unknown key {where} in profile {profile}: {hint}{more}"
    message = first["msg"].removeprefix("Value error, ")
    hidden = first["loc"] == () or first["type"] == "secret"
    given = "" if hidden else f"={first['input']!r:.100}"
    return f"{where}{given} cannot be used in profile {profile}: {message}{more}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
