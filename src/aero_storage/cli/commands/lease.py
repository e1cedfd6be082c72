"""`aero-storage lease`: keys and leases for private images."""

from __future__ import annotations

import click

from aero_storage.cli.commands.lease_check import check_lease
from aero_storage.cli.commands.lease_issue import issue_lease
from aero_storage.cli.commands.lease_keys import lease_keys
from aero_storage.cli.commands.lease_revoke import revoke_lease


@click.group("lease", short_help="Make keys and leases for private images.")
def lease() -> None:
    """Make, check and revoke leases: signed permissions to read private images.

    \b
      aero-storage lease keys new --keys issuer.json > keys.json
      aero-storage lease issue win98 --keys issuer.json --for 8h --sub ada
      aero-storage lease check @lease.txt --keys keys.json

    Secrets and leases are never arguments, which every user of the machine can see: they come from files, from
    standard input, or from the variable AERO_STORAGE_LEASE.
    """  # noqa: D301 - click's mark for text that is not wrapped


for _command in (lease_keys, issue_lease, check_lease, revoke_lease):
    lease.add_command(_command)
