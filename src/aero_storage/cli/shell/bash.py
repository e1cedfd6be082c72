"""The completion of bash: one function, with the words and flags of each command in a table."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from aero_storage.cli.shell.command_tree import Command, Flag, Value

_HEAD = """\
# Completion of aero-storage for bash, made from its tables of commands by `aero-storage completion bash`.

_aero_storage() {
    local command='' word='' valued='' index current=${COMP_WORDS[COMP_CWORD]} previous=''
    local names='' choices='' flags='' valued_flags='' argument=''
    COMPREPLY=()
    ((COMP_CWORD > 0)) && previous=${COMP_WORDS[COMP_CWORD - 1]}
    _aero_storage_table ''
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ $valued ]]; then
            valued=''
        elif [[ $word == -* ]]; then
            [[ " $valued_flags " == *" $word "* ]] && valued=yes
        elif [[ " $names " == *" $word "* ]]; then
            command="${command:+$command }$word"
            _aero_storage_table "$command"
        fi
    done
    if [[ $valued ]]; then
        _aero_storage_value "$command $previous"
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$current"))
    elif [[ $names$choices ]]; then
        COMPREPLY=($(compgen -W "$names$choices" -- "$current"))
    else
        _aero_storage_files "$argument"
    fi
}

_aero_storage_files() {
    compopt -o filenames 2>/dev/null
    local IFS=$'\\n'
    case $1 in
        file) COMPREPLY=($(compgen -f -- "$current")) ;;
        directory) COMPREPLY=($(compgen -d -- "$current")) ;;
    esac
}

"""
_TAIL = "complete -F _aero_storage aero-storage\n"


def bash_completion(tree: Command) -> str:
    """Return the script."""
    commands = list(tree.walk())
    table = "\n".join(line for command in commands for line in _table_entry(command))
    values = "\n".join(line for command in commands for line in _value_entries(command))
    return (
        _HEAD
        + f"_aero_storage_table() {{\n    case $1 in\n{table}\n    esac\n}}\n\n"
        + f"_aero_storage_value() {{\n    case $1 in\n{values}\n    esac\n}}\n\n"
        + _TAIL
    )


def _table_entry(command: Command) -> Iterator[str]:
    names = " ".join(one.words[-1] for one in command.commands)
    flags = [name for flag in command.flags for name in flag.names]
    valued = [name for flag in command.flags if flag.value is not Value.NOTHING for name in flag.names]
    yield f"        {shlex.quote(' '.join(command.words))})"
    yield f"            names={shlex.quote(names)}"
    yield f"            choices={shlex.quote(' '.join(command.argument_choices))}"
    yield f"            flags={shlex.quote(' '.join(flags))}"
    yield f"            valued_flags={shlex.quote(' '.join(valued))}"
    yield f"            argument={command.argument.value}"
    yield "            ;;"


def _value_entries(command: Command) -> Iterator[str]:
    for flag in command.flags:
        if action := _action(flag):
            cases = "|".join(shlex.quote(f"{' '.join(command.words)} {name}") for name in flag.names)
            yield f"        {cases}) {action} ;;"


def _action(flag: Flag) -> str:
    if flag.value is Value.CHOICE:
        return f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(flag.choices))} -- "$current"))'
    return f"_aero_storage_files {flag.value.value}" if flag.value in {Value.FILE, Value.DIRECTORY} else ""
