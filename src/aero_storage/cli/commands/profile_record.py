"""`aero-storage profile record`: learns a profile from the next sessions that begin."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import click

from aero_storage.cli.commands.profile_learn import evidence_of, reader_of
from aero_storage.cli.log_tail import LogTail
from aero_storage.cli.options import CommandContext, ImageIdType, SpanType, with_json, with_root, with_single_writer
from aero_storage.cli.profile_options import with_name, with_rules
from aero_storage.cli.profile_recording import MOST_READS, Recording
from aero_storage.cli.profile_results import report, store
from aero_storage.cli.profile_subject import subject
from aero_storage.errors import OperatorError
from aero_storage.profiles.learning import LearningRules, learning
from aero_storage.sizes import format_span

_TEN_MINUTES = 600.0


@click.command("record", short_help="Learn a profile from the next boot.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@click.option(
    "--log",
    "log",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The file that the daemon's request log goes to; it may be rotated meanwhile.",
)
@click.option(
    "--sessions",
    "wanted",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="Record so many sessions; 1 by default.",
)
@click.option(
    "--for",
    "wait_seconds",
    type=SpanType(),
    default=_TEN_MINUTES,
    metavar="TIME",
    help="Wait so long at most, such as 10m (the default).",
)
@with_rules
@with_name
@with_root
@with_single_writer
@with_json
@click.pass_obj
def record_profile(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    image_id: str,
    log: Path,
    wanted: int,
    wait_seconds: float,
    seconds: int,
    most_bytes: int,
    name: str,
) -> None:
    """Record what the next sessions of the image ID read first: start this command, then boot the image.

    A session begins with a read of the image's first byte. One that fetches a profile does not count. If the time is
    over before there are as many sessions as wanted, those that have begun are taken.
    """
    start, say = time.time(), context.output.say
    found = subject(context, image_id)
    with (
        closing(LogTail(log)) as tail,
        learning(
            reader_of(context.repository, found), name, found.size, LearningRules(seconds, most_bytes), 2 * MOST_READS
        ) as learner,
    ):
        for line in tail.lines():
            learner.take(line)
        say(f"Waiting for a session of {image_id}: boot it now.")
        recording = Recording(learner, tail.lines, wanted, say, start, time.time, time.sleep)
        profile = learner.profile(recording.sessions(wait_seconds))
        if profile is None:
            raise OperatorError(
                f"no session of {image_id} that counts has begun in {format_span(wait_seconds)}; does its "
                f"request log go to {log}?"
            )
        store(context, found, profile)
        report(context, profile, evidence_of(learner))
