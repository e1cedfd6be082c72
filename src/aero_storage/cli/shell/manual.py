"""The manual pages, in the macros of man(7): of the commands, and of the daemon's settings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aero_storage import settings
from aero_storage.cli.shell.command_tree import Command, Flag

_STATUS = """\
The exit status is 0, 1 for a failure (also a finding of
.BR verify ", " "catalog check" ", " "lease check" " or " doctor ),
2 for a wrong command line, 128 + n after signal n.
Ctrl-C is the way to end
.BR serve ", " top ,
and
.B demo
once it serves, so the status is 0 then. SIGTERM and SIGHUP end
.B serve
and such a
.B demo
with 0, too, as they end the daemon, and
.B top
with 143 and 129.
With
.B \\-\\-json
a command prints one JSON document on standard output.
"""
_SEE = ".BR {} ,\nand the pages in the directory docs of the sources.\n"


def manual_of_commands(tree: Command, version: str) -> str:
    """Return aero-storage(1)."""
    lines = [
        *_head("AERO-STORAGE", 1, version),
        "aero\\-storage \\- manage and serve disk images for browsers",
        ".SH SYNOPSIS",
        *(line for command in tree.walk() if not command.commands for line in _synopsis(command)),
        ".SH DESCRIPTION",
        *_paragraphs(tree.help),
        ".SH OPTIONS",
        *(line for flag in tree.flags if not flag.is_hidden for line in _flag(flag)),
        ".SH COMMANDS",
        *(line for command in tree.walk() if not command.commands for line in _section(command)),
        ".SH EXIT STATUS",
        _STATUS.rstrip("\n"),
        ".SH SEE ALSO",
        _SEE.format("twistd\\-aero\\-storage (8)").rstrip("\n"),
    ]
    return "\n".join(lines) + "\n"


def manual_of_settings(version: str) -> str:
    """Return twistd-aero-storage(8)."""
    lines = [
        *_head("TWISTD-AERO-STORAGE", 8, version),
        "twistd\\-aero\\-storage \\- the daemon that serves disk images to browsers",
        ".SH SYNOPSIS",
        ".B twistd",
        '.RI [ "options of twistd" ]',
        ".B aero\\-storage",
        ".RI [ options ]",
        ".SH DESCRIPTION",
        "Serves large disk images over HTTP, by ranges or by chunks.",
        "A flag wins over its variable, the variable over the key in the configuration file (TOML), the key over the",
        "default. Lists take a repeated flag, or commas.",
        ".PP",
        "SIGTERM ends it with a time of grace, SIGHUP has catalog, leases and certificates read again.",
        ".SH OPTIONS",
        *(line for row in (*settings.table(), settings.CONFIG) for line in _setting(row)),
        *_entry(".B \\-\\-check\\-config", "Print every setting and where its value comes from, then end."),
        *_entry(".B \\-\\-help", "Explain every setting, then end."),
        *_entry(".B \\-\\-version", "Print the version, then end."),
        ".SH FILES",
        *_entry(".I /etc/aero\\-storage.toml", "The configuration file, where the units and services name it."),
        *_entry(".I /srv/aero\\-storage/images", "The images root, where these files name it."),
        ".SH SEE ALSO",
        _SEE.format("aero\\-storage (1), twistd (1)").rstrip("\n"),
    ]
    return "\n".join(lines) + "\n"


def _head(title: str, section: int, version: str) -> Iterator[str]:
    yield '.\\" Made from the tables of commands and settings by `make docs`; do not edit.'
    yield f'.TH {title} {section} "" "aero-storage {version}"'
    yield ".nh"
    yield ".ad l"
    yield ".SH NAME"


def _synopsis(command: Command) -> Iterator[str]:
    yield f".B aero\\-storage {_escaped(' '.join(command.words))}"
    yield f".I {_escaped(command.usage)}"
    yield ".br"


def _section(command: Command) -> Iterator[str]:
    yield f".SS {_escaped(' '.join(command.words))}"
    yield from _paragraphs(command.help)
    for flag in command.flags:
        if not flag.is_hidden:
            yield from _flag(flag)


def _flag(flag: Flag) -> Iterator[str]:
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in flag.names)
    yield from _entry(f"{names} \\fI{_escaped(flag.metavar)}\\fR" if flag.metavar else names, flag.help)


def _setting(row: settings.Setting) -> Iterator[str]:
    names = f"\\fB{_escaped(row.flag)}\\fR"
    names += f", \\fB{_escaped(row.twin)}\\fR" if row.twin else f" \\fI{_escaped(row.metavar)}\\fR"
    default = f"Default {row.default}" if row.default else "No default"
    key = f"; key {row.key}" if row.key else ""
    yield from _entry(names, f"{row.help} {default}; variable {row.variable}{key}.")


def _entry(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield term
    yield _escaped(text)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help; one that click is told not to wrap keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
        kept = paragraph.startswith("\b\n")
        yield from ([".PP"] if number else [])
        yield from ([".nf"] if kept else [])
        for line in paragraph.removeprefix("\b\n").split("\n"):
            yield _escaped(line if kept else line.strip())
        yield from ([".fi"] if kept else [])


def _escaped(text: str) -> str:
    """Return a text that troff shows as it is."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("×", "\\(mu").replace("–", "\\(en")
    )
    text = text.replace("'", "\\(aq").replace("`", "\\(ga").replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{text}" if text.startswith((".", "'")) else text
