"""`aero-storage lease keys`: makes the keys that sign leases, replaces them, and prints their public parts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from aero_storage.atomic_files import replace_file
from aero_storage.cli.lease_files import (
    PUBLIC_MODE,
    SECRET_MODE,
    changing,
    read_keyring,
    with_keys,
    write_keyring,
)
from aero_storage.cli.lease_options import with_leeway, with_max_lifetime
from aero_storage.cli.options import CommandContext, with_json, with_lock_timeout
from aero_storage.errors import OperatorError
from aero_storage.http.leases.issuing import Keyring, new_key
from aero_storage.http.leases.signatures import Algorithm

_ALGORITHMS = click.Choice([str(one) for one in Algorithm], case_sensitive=False)
_ISSUER = "The issuer's file, with secrets; the daemon must not read it, unless its keys are of HS256."


@click.group("keys", short_help="Make and replace keys.")
def lease_keys() -> None:
    """Make the keys that sign leases, replace them, and print what the daemon verifies with."""


@lease_keys.command("new", short_help="Make a file with a new key.")
@click.option(
    "--alg",
    type=_ALGORITHMS,
    default=str(Algorithm.ED25519),
    show_default=True,
    help="EdDSA: the daemon cannot sign; HS256: one secret signs and verifies.",
)
@with_keys(_ISSUER)
@with_lock_timeout
@with_json
@click.pass_obj
def make_keys(context: CommandContext, alg: str, keys_file: Path) -> None:
    """Make a file with a new key, for its owner alone, and print the set of public keys for the daemon.

    Of HS256 nothing is printed: issuer and daemon read the same file.
    """
    with changing(keys_file, context.waiting):
        if keys_file.exists():
            raise OperatorError(f"{keys_file} exists; `aero-storage lease keys rotate` puts a new key into it")
        ring = Keyring((new_key(Algorithm(alg)),))
        write_keyring(keys_file, ring)
    _show(context, ring, keys_file)


@lease_keys.command("rotate", short_help="Put a new key in the place of the one that signs.")
@click.option("--alg", type=_ALGORITHMS, default=None, help="The algorithm of the new key; else that of the old one.")
@with_keys(_ISSUER)
@with_max_lifetime
@with_leeway
@with_lock_timeout
@with_json
@click.pass_obj
def rotate_keys(
    context: CommandContext, alg: str | None, keys_file: Path, max_lifetime: float, leeway: float
) -> None:
    """Put a new key in the place of the one that signs, and print the set of public keys for the daemon.

    The old key goes on verifying; its private part is removed. A later rotation removes it, once no lease that it has
    signed can be valid any more.
    """
    with changing(keys_file, context.waiting):
        old = read_keyring(keys_file, context.output.say)
        key = new_key(Algorithm(alg) if alg else old.signer.algorithm)
        ring = old.rotated(key, float(int(time.time())), lambda retired: retired + max_lifetime + leeway)
        write_keyring(keys_file, ring)
    _show(context, ring, keys_file)


@lease_keys.command("public", short_help="Print the set of public keys for the daemon.")
@with_keys(_ISSUER)
@click.option(
    "--with-secrets", is_flag=True, help="Have secrets of HS256 in it; without them no such lease verifies."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it to this file, as a whole or not at all; a running daemon may read it meanwhile.",
)
@with_lock_timeout
@with_json
@click.pass_obj
def print_public_keys(
    context: CommandContext,
    keys_file: Path,
    with_secrets: bool,  # noqa: FBT001 - click's
    out: Path | None,
) -> None:
    """Print the set of public keys, which is the daemon's file of keys."""
    ring = read_keyring(keys_file, context.output.say)
    if ring.has_shared_secrets and not with_secrets:
        raise OperatorError(
            f"{keys_file} has keys of HS256, whose secrets the daemon must know: give it a file of --with-secrets"
        )
    if out is None:
        _print_set(context, ring)
        return
    with changing(out, context.waiting):
        replace_file(out, ring.public_set(), SECRET_MODE if ring.has_shared_secrets else PUBLIC_MODE)
    kids = [key.kid for key in ring.keys]
    context.output.result({"out": str(out), "kids": kids}, f"{out} has the keys {', '.join(kids)}")


def _show(context: CommandContext, ring: Keyring, path: Path) -> None:
    """Print the public set; of secrets, where they are."""
    context.output.say(f"{path}: the key {ring.signer.kid} ({ring.signer.algorithm}) signs")
    if not ring.has_shared_secrets:
        _print_set(context, ring)
        return
    context.output.result(
        {"keys": str(path), "kid": ring.signer.kid, "alg": str(ring.signer.algorithm)},
        f"A secret has no public part: the daemon's --lease-keys-file is {path}, or a copy that it may read",
    )


def _print_set(context: CommandContext, ring: Keyring) -> None:
    document = json.loads(ring.public_set())
    context.output.result(document, *json.dumps(document, indent=2).splitlines())
