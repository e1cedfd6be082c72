"""`aero-storage profile`: boot profiles, which tell clients what to fetch before it is asked for."""

from __future__ import annotations

import click

from aero_storage.cli.commands.profile_learn import learn_profile
from aero_storage.cli.commands.profile_record import record_profile
from aero_storage.cli.commands.profile_show import import_profile, remove_profile, show_profile


@click.group("profile", short_help="Learn what guests read first, so that clients fetch it ahead.")
def profile() -> None:
    """Learn, show and move boot profiles: the units of an image that its guests read first, and when.

    \b
      aero-storage profile learn win98 /var/log/aero-storage/*
      aero-storage profile record win98 --log /var/log/aero-storage/current
      aero-storage profile show win98

    A client that knows the profile fetches in a few large requests what a boot would ask for in hundreds of small
    ones. The daemon serves it at /v1/images/ID/profile, and brings its bytes into memory. A profile is of one version
    of an image: learn it anew when the image is replaced.
    """  # noqa: D301 - click's mark for text that is not wrapped


for _command in (learn_profile, record_profile, show_profile, import_profile, remove_profile):
    profile.add_command(_command)
