"""The completion of zsh: a function for each command, which calls `_arguments`."""

from __future__ import annotations

from collections.abc import Iterator

from aero_storage.cli.shell.command_tree import Command, Flag, Value

_HEAD = """\
#compdef aero-storage
# Completion of aero-storage for zsh, made from its tables of commands by `aero-storage completion zsh`.

"""
_TAIL = """
if [[ $funcstack[1] == _aero-storage ]]; then
    _aero-storage_ "$@"
else
    compdef _aero-storage_ aero-storage
fi
"""
_ACTIONS = {Value.FILE: "_files", Value.DIRECTORY: "_files -/", Value.WORD: " "}


def zsh_completion(tree: Command) -> str:
    """Return the script."""
    return _HEAD + "\n".join(line for command in tree.walk() for line in _function(command)) + "\n" + _TAIL


def _name(command: Command) -> str:
    return "_aero-storage_" + "_".join(command.words)


def _function(command: Command) -> Iterator[str]:
    yield f"{_name(command)}() {{"
    if command.commands:
        yield "    local curcontext=$curcontext state line"
        yield "    local -a commands"
    yield "    _arguments -C \\" if command.commands else "    _arguments \\"
    for flag in command.flags:
        yield from (f"        {_quoted(spec)} \\" for spec in _specs(flag))
    if not command.commands:
        choices = command.argument_choices
        action = f"({' '.join(choices)})" if choices else _ACTIONS.get(command.argument)
        yield f"        {_quoted(f'*:argument:{action}')}" if action else "        && return"
        yield "}"
        return
    yield "        '1: :->command' '*:: :->rest' && return"
    yield "    case $state in"
    yield "        command)"
    yield "            commands=("
    yield from (f"                {_quoted(_described(one))}" for one in command.commands)
    yield "            )"
    yield "            _describe command commands ;;"
    yield "        rest)"
    yield "            case $words[1] in"
    yield from (f"                {one.words[-1]}) {_name(one)} ;;" for one in command.commands)
    yield "            esac ;;"
    yield "    esac"
    yield "}"


def _specs(flag: Flag) -> Iterator[str]:
    for name in flag.names:
        if flag.value is Value.NOTHING:
            yield f"*{name}[{_text(flag.help)}]"
        else:
            action = f"({' '.join(flag.choices)})" if flag.choices else _ACTIONS[flag.value]
            yield f"*{name}[{_text(flag.help)}]:{_text(flag.metavar)}:{action}"


def _described(command: Command) -> str:
    return f"{command.words[-1]}:{_text(command.short_help)}"


def _text(text: str) -> str:
    """Return a text for a specification, in which brackets and colons have a meaning."""
    return "".join(f"\\{char}" if char in "[]:\\" else char for char in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
