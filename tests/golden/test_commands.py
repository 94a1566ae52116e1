"""The tree of commands and options, and the exit codes of wrong usage. Help texts may change."""

from __future__ import annotations

import enum
import shlex
from pathlib import Path
from typing import Any

import typer

from tests.golden.access import command_line, convrec
from tests.golden.conftest import Golden

TYPES = {"str": "text", "int": "integer", "float": "float", "bool": "boolean", "Path": "path"}


def kind(annotation: Any) -> Any:
    """The type of a parameter on the command line."""
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [choice.value for choice in annotation]
    arguments = [a for a in getattr(annotation, "__args__", ()) if a is not type(None)]
    if arguments:
        return kind(arguments[0])
    return TYPES.get(annotation.__name__, annotation.__name__)


def parameter(found: Any) -> dict[str, Any]:
    """Everything about an argument or option except its help text."""
    option = found.param_type_name == "option"
    default = found.default.value if isinstance(found.default, enum.Enum) else found.default
    default = str(default) if isinstance(default, Path) else default
    info = found.type_descriptor.parameter_info
    return {
        "name": sorted(found.opts) if option else (found.metavar or found.name).upper(),
        "no": sorted(found.secondary_opts),
        "kind": found.param_type_name,
        "type": kind(found.type_descriptor.annotation),
        "flag": bool(getattr(found, "is_flag", False)),
        "required": found.required,
        "several": bool(found.multiple or found.nargs != 1),
        "default": None if callable(default) else default,
        "metavar": found.metavar,
        "variable": found.envvar,
        "hidden": bool(getattr(found, "hidden", False)),
        "range": [found.min, found.max],
        "files": [info.exists, info.file_okay, info.dir_okay, info.allow_dash],
    }


def tree(command: Any) -> dict[str, Any]:
    """A command and its subcommands; arguments in order, options by name."""
    every = [parameter(found) for found in command.params]
    made: dict[str, Any] = {
        "arguments": [one for one in every if one["kind"] == "argument"],
        "options": {one["name"][0]: one for one in every if one["kind"] == "option"},
        "help_options": sorted(command.context_settings.get("help_option_names", ["--help"])),
        "no_args_is_help": command.no_args_is_help,
        "hidden": command.hidden,
    }
    below = getattr(command, "commands", None)
    if below is not None:
        made["commands"] = {name: tree(one) for name, one in below.items()}
    return made


def leaves(command: Any, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every command that is not a group, with the words that call it."""
    below = getattr(command, "commands", None)
    if below is None:
        return [(words, command)]
    return [leaf for name, one in below.items() for leaf in leaves(one, (*words, name))]


def test_the_tree_of_commands(golden: Golden) -> None:
    app, _ = command_line()
    golden("commands", tree(typer.main.get_command(app)))


def test_wrong_usage_of_each_command(tmp_path: Path) -> None:
    app, _ = command_line()
    for words, command in leaves(typer.main.get_command(app)):
        assert convrec(*words, "--no-such-option", home=tmp_path).code == 2, words
        assert convrec(*words, "--help", home=tmp_path).code == 0, words
        if any(one.required for one in command.params):
            assert convrec(*words, home=tmp_path).code == 2, words


LINES = """
--version
no-such-command
run no-such-profile
run demo --until nothing
run demo --refresh nothing
run demo --set seed
run demo --set sead=3
run demo --set seed=-1
run demo --json {missing}/x.json
run demo --set recommend.source=replay
run demo --set ingest.catalog=catalog:nothing
plan no-such-profile
plan demo --set llm.base_url=nonsense
evaluate --profile no-such-profile
score {missing} --catalog {catalog}
score {lists} --catalog {missing}
score {bad} --catalog {catalog}
score {lists} --catalog {catalog} --protocol other
catalog check {missing}
catalog check {bad}
catalog check {catalog}
catalog diff {catalog} {missing}
catalog link --catalog {missing}
catalog versions nothing
catalog versions nothing@3
catalog publish {bad} --name x
artifacts list
artifacts list --kind nothing
artifacts list --run nothing
artifacts show nothing
artifacts lineage nothing
artifacts export nothing {missing}.csv
artifacts trace --conversation nothing
artifacts forget --conversation nothing
artifacts pin nothing --name x
artifacts unpin nothing
artifacts gc
llm ledger
llm ledger --by nothing
llm batches
llm batches --cancel nothing
llm batches --release nothing
llm import {missing}
llm import --stage adjust {lists}
llm reparse demo
llm serve-demo --port 99999
llm serve-demo --faults nothing:1
recommend --checkpoint nothing text
recommend --checkpoint nothing ' '
export nothing {missing}
compare nothing other
train plan --model nothing --gpus 8xH100
train plan --model Qwen2.5-7B-Instruct --gpus nothing
train check no-such-profile
train check demo
train check demo --set rank_grpo.vllm=server
"""


def test_exit_codes_of_wrong_input(golden: Golden, tmp_path: Path) -> None:
    names = ("missing", "catalog.csv", "bad.csv", "lists.jsonl")
    files = {name.partition(".")[0]: tmp_path / name for name in names}
    files["catalog"].write_text("title,year\nHeat,1995\n")
    files["bad"].write_text("name,when\nHeat,1995\n")
    files["lists"].write_text('{"completion": "Heat (1995)"}\n')
    codes = {
        line: convrec(*shlex.split(line.format(**files)), home=tmp_path / "home").code
        for line in LINES.split("\n")
        if line
    }
    golden("exit_codes", codes)


class Interrupted:
    """A standard input that receives Ctrl-C."""

    def isatty(self) -> bool:
        return False

    @property
    def buffer(self) -> Any:
        return self

    def read(self) -> bytes:
        raise KeyboardInterrupt


def test_an_interrupt_ends_with_130(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("title,year\nHeat,1995\n")
    words = ("catalog", "link", "--catalog", catalog)
    assert convrec(*words, home=tmp_path, stdin=Interrupted()).code == 130
