"""The commands as a tree of values: their words, flags and arguments, read from click."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from typing import Any

import attrs
import click

_FILES = frozenset({"FILE", "SOURCE", "PATH"})
_DIRECTORIES = frozenset({"DIR", "ROOT", "FROM", "TO"})


class Value(enum.Enum):
    """The kind of a word behind a flag, or of an argument."""

    NOTHING = "nothing"
    WORD = "word"
    CHOICE = "choice"
    FILE = "file"
    DIRECTORY = "directory"


@attrs.frozen
class Flag:
    """A flag with all its names; `choices` are its values, if they are few."""

    names: tuple[str, ...]
    metavar: str
    """Empty for a switch."""
    help: str
    value: Value
    choices: tuple[str, ...] = ()
    is_hidden: bool = False


@attrs.frozen
class Command:
    """A command or a group of them; `words` are those behind the program's name."""

    words: tuple[str, ...]
    usage: str
    short_help: str
    help: str
    flags: tuple[Flag, ...]
    argument: Value
    """The kind of the first argument."""
    argument_choices: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()

    def walk(self) -> Iterator[Command]:
        """Yield the command, and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def command_tree(command: click.Command, name: str, words: tuple[str, ...] = ()) -> Command:
    """Return the tree of a command."""
    context = click.Context(command, info_name=" ".join([name, *words]))
    below = command.commands.items() if isinstance(command, click.Group) else ()
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    return Command(
        words,
        " ".join(command.collect_usage_pieces(context)),
        command.get_short_help_str(200),
        inspect.cleandoc(command.help or ""),
        tuple(_flag(one, context) for one in _options(command, context)),
        _kind(arguments[0].type, _name(arguments[0])) if arguments else Value.NOTHING,
        _choices(arguments[0].type) if arguments else (),
        tuple(command_tree(one, name, (*words, word)) for word, one in below),
    )


def _options(command: click.Command, context: click.Context) -> list[click.Option]:
    return [one for one in command.get_params(context) if isinstance(one, click.Option)]


def _flag(option: click.Option, context: click.Context) -> Flag:
    names = (*option.opts, *option.secondary_opts)
    text = " ".join((option.help or "").split())
    is_switch = option.is_flag or option.count or bool(option.secondary_opts)
    metavar = "" if is_switch else option.make_metavar(context)
    value = Value.NOTHING if is_switch else _kind(option.type, metavar)
    return Flag(names, metavar, text, value, _choices(option.type), option.hidden)


def _name(argument: click.Argument) -> str:
    return (argument.metavar or argument.name or "").upper().strip("[].").partition("|")[0]


def _choices(kind: click.ParamType[Any]) -> tuple[str, ...]:
    return tuple(map(str, kind.choices)) if isinstance(kind, click.Choice) else ()


def _kind(kind: click.ParamType[Any], metavar: str) -> Value:
    if isinstance(kind, click.Choice):
        return Value.CHOICE
    if metavar in _DIRECTORIES or (isinstance(kind, click.Path) and not kind.file_okay):
        return Value.DIRECTORY
    if metavar in _FILES or isinstance(kind, click.Path | click.File):
        return Value.FILE
    return Value.WORD
