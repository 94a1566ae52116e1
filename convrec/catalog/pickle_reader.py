"""Reads plain data out of a pickle without loading it: a program of its own, without convrec.

The file is never handed to the `pickle` module. `pickletools` lists its opcodes, and those that
build lists, tuples, sets, dictionaries, text and numbers are carried out here; there is no code for
any other. `set`, `frozenset` and `OrderedDict` are the only names that it may mention. The process
limits its own memory, time and output first.

Usage: python -I -S pickle_reader.py FILE. Writes {"value": ...}, where a dictionary is
{"pairs": [[key, value], ...]}, or {"refused": reason}.
"""

from __future__ import annotations

import json
import pickletools
import resource
import sys
from typing import Any

MEMORY, SECONDS, OUTPUT = 2**30, 60, 2**26
"""Limits of the process: bytes of memory, processor seconds, bytes of output."""

MAX_DEPTH = 6

_VALUES = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
)
_OLD_TEXT = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Any] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_CONTAINERS: dict[str, Any] = {
    "builtins set": set,
    "builtins frozenset": frozenset,
    "__builtin__ set": set,
    "__builtin__ frozenset": frozenset,
    "collections OrderedDict": dict,
}


class Refused(Exception):  # noqa: N818 - reads as what it says
    """The pickle holds more than plain data; the message says what."""


class _Container:
    """The name of a container, which REDUCE may call."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind


class _Machine:
    """The stack of the opcodes, and the values that they remember."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def after_mark(self) -> list[Any]:
        """Take all values above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode. Raises Refused for one that is not about plain data."""
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _OLD_TEXT:
            stack.append(_old_text(argument))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name not in ("PROTO", "FRAME"):
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("TUPLE", "LIST", "FROZENSET"):
            kind = {"TUPLE": tuple, "LIST": list, "FROZENSET": frozenset}[name]
            stack.append(kind(self.after_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name in ("APPEND", "APPENDS"):
            values = self.after_mark() if name == "APPENDS" else [stack.pop()]
            list.extend(stack[-1], values)
        elif name == "ADDITEMS":
            values = self.after_mark()
            set.update(stack[-1], values)
        elif name in ("DICT", "SETITEM", "SETITEMS"):
            values = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self.after_mark()
            if name == "DICT":
                stack.append({})
            dict.update(stack[-1], zip(values[::2], values[1::2], strict=True))
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self.after_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            self._name(name, argument)

    def _name(self, name: str, argument: Any) -> None:
        """The opcodes that name or call something."""
        stack = self.stack
        if name == "STACK_GLOBAL":
            argument = f"{stack[-2]} {stack[-1]}"
            del stack[-2:]
        if name in ("GLOBAL", "STACK_GLOBAL") and argument in _CONTAINERS:
            stack.append(_Container(_CONTAINERS[argument]))
        elif name in ("GLOBAL", "STACK_GLOBAL", "INST"):
            raise Refused(str(argument).replace(" ", "."))
        elif name == "REDUCE" and isinstance(stack[-2], _Container):
            values = stack.pop()
            kind = stack.pop().kind
            if not isinstance(values, tuple) or len(values) > 1 or (values and kind is dict):
                raise Refused("a call with other arguments than a list")
            stack.append(kind(list.copy(values[0])) if values else kind())
        else:
            raise Refused(f"the instruction {name}")


def read_plain(data: bytes) -> Any:
    """The value of a pickle of plain data.

    Raises Refused for other data, and ValueError, TypeError, LookupError or AttributeError for a
    damaged file.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.step(opcode.name, argument)
    raise ValueError("no end")


def to_json(value: Any, depth: int = 0) -> Any:
    """The value as JSON has it: lists for sequences, sorted lists for sets, pairs for dictionaries.

    Raises Refused for a nesting deeper than MAX_DEPTH, as in a list that contains itself.
    """
    if depth > MAX_DEPTH:
        raise Refused(f"containers within containers, more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        pairs = value.items()
        return {"pairs": [[to_json(k, depth + 1), to_json(v, depth + 1)] for k, v in pairs]}
    if isinstance(value, list | tuple):
        return [to_json(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((to_json(item, depth + 1) for item in value), key=json.dumps)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, _Container):
        raise Refused("a class as a value")
    return value if value == value else None  # NaN is a missing year


def _old_text(text: str) -> str:
    """Text of Python 2, which was bytes."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _limit() -> None:
    for kind, size in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(kind, (size, size))


def main(path: str) -> None:
    """Read a file within limits and write the result as one line of JSON."""
    with open(path, "rb") as file:
        _limit()
        try:
            text = json.dumps({"value": to_json(read_plain(file.read()))})
        except Refused as error:
            text = json.dumps({"refused": f"holds {error}, which is no plain data"})
        except MemoryError:
            text = json.dumps({"refused": f"needs more than {MEMORY >> 20} MB of memory"})
        except RecursionError:
            text = json.dumps({"refused": "is nested too deeply"})
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            text = json.dumps({"refused": f"is no complete pickle ({type(error).__name__})"})
    sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
