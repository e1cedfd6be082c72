"""The completion of fish: a line for each command and flag, in force behind the words of its command."""

from __future__ import annotations

from collections.abc import Iterator

from aero_storage.cli.shell.command_tree import Command, Flag, Value

_HEAD = """\
# Completion of aero-storage for fish, made from its tables of commands by `aero-storage completion fish`.

# Whether the words that are no flags begin with these, and the next one is none of the words of commands.
function __aero_storage_at
    set --local words (commandline --tokens-expanded --cut-at-cursor 2>/dev/null; or commandline -opc)
    set --local given
    set --local valued
    for word in $words[2..]
        if test -n "$valued"
            set valued
        else if contains -- $word $__aero_storage_valued_flags
            set valued yes
        else if not string match --quiet -- '-*' $word
            set --append given $word
        end
    end
    set --local wanted (string split --no-empty ' ' -- $argv[1])
    for index in (seq (count $wanted))
        test "$given[$index]" = "$wanted[$index]"; or return 1
    end
    set --local next (math (count $wanted) + 1)
    test -z "$argv[2]"; or not contains -- "$given[$next]" (string split ' ' -- $argv[2])
end

complete --command aero-storage --no-files
"""


def fish_completion(tree: Command) -> str:
    """Return the script."""
    commands = list(tree.walk())
    valued = {
        name for one in commands for flag in one.flags if flag.value is not Value.NOTHING for name in flag.names
    }
    lines = [f"set --global __aero_storage_valued_flags {' '.join(sorted(valued))}"]
    lines += [line for command in commands for line in _lines(command)]
    return _HEAD + "\n".join(lines) + "\n"


def _lines(command: Command) -> Iterator[str]:
    names = " ".join(one.words[-1] for one in command.commands)
    condition = f"__aero_storage_at {_quoted(' '.join(command.words))} {_quoted(names)}".rstrip()
    begin = f"complete --command aero-storage --condition {_quoted(condition)}"
    for one in command.commands:
        yield f"{begin} --arguments {_quoted(one.words[-1])} --description {_quoted(one.short_help)}"
    if command.argument_choices:
        yield f"{begin} --arguments {_quoted(' '.join(command.argument_choices))}"
    if command.argument in {Value.FILE, Value.DIRECTORY}:
        yield f"{begin} --force-files"
    for flag in command.flags:
        yield f"{begin} {_flag(flag)} --description {_quoted(flag.help)}"


def _flag(flag: Flag) -> str:
    names = " ".join(
        f"--long-option {name[2:]}" if name.startswith("--") else f"--short-option {name[1:]}" for name in flag.names
    )
    if flag.value is Value.NOTHING:
        return names
    if flag.value is Value.CHOICE:
        return f"{names} --exclusive --arguments {_quoted(' '.join(flag.choices))}"
    return f"{names} --exclusive" if flag.value is Value.WORD else f"{names} --require-parameter --force-files"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
