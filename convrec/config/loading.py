"""Loads a profile with overrides, or raises a ConfigError of one sentence.

Overrides are dotted (`rank_grpo.steps=40`) or nested (`{"rank_grpo": {"steps": 40}}`). An unknown
key is an error that suggests the nearest known key.
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
    """Read a profile, by shipped name or by path to a TOML file, and apply overrides.

    Raises ConfigError for an unknown profile, invalid TOML, an unknown key or an invalid value.
    """
    path = _profile_path(profile)
    values = _read_toml(path)
    values.setdefault("profile", path.stem)
    if isinstance(values.get("domain"), str):
        values["domain"] = {"noun": values["domain"]}
    for key, value in (overrides or {}).items():
        is_noun = key == "domain" and isinstance(value, str)
        _merge(values, ["domain", "noun"] if is_noun else str(key).split("."), value)
    try:
        config = Config.model_validate(values)
        config.model_dump_json()
    except ValidationError as error:
        raise ConfigError(_describe_error(error, path.stem)) from None
    except PydanticSerializationError:
        raise ConfigError(
            "an override contains text that is not valid Unicode; enter its value again"
        ) from None
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); correct that line") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply for a profile") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None


def _profile_path(profile: str) -> Path:
    shipped = profiles()
    if profile in shipped:
        return shipped[profile]
    path = resolve_path(profile, "PROFILE")
    if path.suffix == ".toml" and path.is_file():
        return path
    named = resolve_path(f"profiles/{profile}.toml", "PROFILE")  # of the current folder
    if profile == path.name and named.is_file():
        return named
    raise ConfigError(
        f"there is no profile {profile!r}; use one of {', '.join(shipped)}, or the path of a "
        ".toml file"
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


def _describe_error(error: ValidationError, profile: str) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the configuration"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {where} in profile {profile}: {_suggest_key(where)}{more}"
    message = first["msg"].removeprefix("Value error, ")
    is_section = first["type"] == "value_error" and isinstance(first["input"], Mapping)
    is_hidden = first["loc"] == () or first["type"] == "secret" or is_section
    value = "" if is_hidden else f"={first['input']!r:.100}"
    return f"{where}{value} is invalid in profile {profile}: {message}{more}"


def _suggest_key(unknown: str) -> str:
    keys = list(dotted_keys(Config))
    if nearest := difflib.get_close_matches(unknown, keys, n=1, cutoff=0.5):
        return f"did you mean {nearest[0]}?"
    section = unknown[: unknown.rfind(".") + 1]
    inner = [key.removeprefix(section).partition(".") for key in keys if key.startswith(section)]
    allowed = dict.fromkeys(f"{section}{name}{'.*' if dot else ''}" for name, dot, _ in inner)
    return f"allowed keys: {', '.join(allowed or keys)}"


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """All keys of a configuration model, nested ones as `section.key`."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from dotted_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
