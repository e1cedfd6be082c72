"""`aero-storage completion`: scripts by which shells complete commands and flags."""

from __future__ import annotations

import click

from aero_storage.cli.shell.bash import bash_completion
from aero_storage.cli.shell.command_tree import command_tree
from aero_storage.cli.shell.fish import fish_completion
from aero_storage.cli.shell.zsh import zsh_completion
from aero_storage.cli.terminal import write_script

SCRIPTS = {"bash": bash_completion, "zsh": zsh_completion, "fish": fish_completion}


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
@click.pass_context
def print_completion(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes the words of this command: bash, zsh or fish.

    \b
      eval "$(aero-storage completion bash)"                                       # in ~/.bashrc
      aero-storage completion zsh > ~/.zfunc/_aero-storage                         # in $fpath
      aero-storage completion fish > ~/.config/fish/completions/aero-storage.fish
    """  # noqa: D301 - click's mark for text that is not wrapped
    write_script(SCRIPTS[shell](command_tree(context.find_root().command, "aero-storage")))
