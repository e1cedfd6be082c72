"""`aero-storage profile learn`: learns what the guests of an image read first, from request logs."""

from __future__ import annotations

import click

from aero_storage.cli.log_sources import log_lines
from aero_storage.cli.options import CommandContext, ImageIdType, with_json, with_root, with_single_writer
from aero_storage.cli.profile_options import with_name, with_rules
from aero_storage.cli.profile_results import Evidence, report, store
from aero_storage.cli.profile_subject import ProfileSubject, PublishedPlaces, subject
from aero_storage.cli.repository import Repository
from aero_storage.cli.watching import watched
from aero_storage.errors import OperatorError
from aero_storage.profiles.learning import Learner, LearningRules, learning
from aero_storage.profiles.log_lines import LogReader


@click.command("learn", short_help="Learn a profile from request logs.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
@with_rules
@with_name
@with_root
@with_single_writer
@with_json
@click.pass_obj
def learn_profile(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext, image_id: str, logs: tuple[str, ...], seconds: int, most_bytes: int, name: str
) -> None:
    """Learn from request logs what sessions of the image ID read first, for the version that it has now.

    Name the logs of all replicas, rotated ones too, in any order: files, plain or compressed (gz, xz, zst, bz2), or -
    for standard input. A unit that at least half of the sessions read goes into the profile. Sessions that fetched a
    profile count for nothing: their reads say little of what they needed.
    """
    found = subject(context, image_id)
    rules = LearningRules(seconds, most_bytes)
    with learning(reader_of(context.repository, found), name, found.size, rules) as learner:
        for line in log_lines(logs, context.output.say):
            learner.take(line)
        with watched(context.output.say) as work:
            work.begin(f"Learning from {learner.reads} reads of {image_id}")
            profile = learner.profile(learner.sessions())
        if profile is None:
            raise OperatorError(_explain(found, learner))
        store(context, found, profile)
        report(context, profile, evidence_of(learner))


def reader_of(repository: Repository, found: ProfileSubject) -> LogReader:
    """Return what finds the reads of an image in logs."""
    places = PublishedPlaces.of(repository, found)
    if places is None:
        return LogReader(found.image.id, found.version)
    return LogReader(found.image.id, found.version, places.place)


def evidence_of(learner: Learner) -> Evidence:
    """Return what a learner has taken."""
    return Evidence(learner.lines, learner.malformed, learner.reads)


def _explain(found: ProfileSubject, learner: Learner) -> str:
    logs = f"of {learner.lines} lines {learner.reads} are reads of {found.image.id} in its version {found.version}"
    if learner.malformed:
        logs += f", and {learner.malformed} are none of a request log"
    if not learner.reads:
        return f"nothing to learn from: {logs}; are they request logs of this image, since it was last replaced?"
    return (
        f"nothing to learn from: {logs}, but no session begins in them that did without a profile; a session begins "
        "with a read of the image's first byte after ten minutes without a read"
    )
