"""Stores a profile that was made for the present version of an image, and tells of it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from aero_storage.cli.options import CommandContext
from aero_storage.cli.profile_subject import ProfileSubject, subject
from aero_storage.cli.stored_profiles import ProfilePlace
from aero_storage.errors import OperatorError
from aero_storage.profiles.document import BootProfile
from aero_storage.sizes import format_size


@attrs.frozen
class Evidence:
    """The lines that a profile was learned from."""

    lines: int
    malformed: int
    reads: int


def store(context: CommandContext, found: ProfileSubject, profile: BootProfile) -> None:
    """Store a profile. Raises OperatorError if the image was replaced meanwhile; then the old profile stays."""
    repository, image_id = context.repository, found.image.id
    with repository.at_work(image_id, context.output.say):
        if subject(context, image_id).version != found.version:
            raise OperatorError(
                f"{image_id} was replaced meanwhile, so the profile is of older content; nothing stored"
            )
        repository.profiles.write(profile)


def report(context: CommandContext, profile: BootProfile, evidence: Evidence | None = None) -> None:
    """Print what was stored."""
    more = {} if evidence is None else attrs.asdict(evidence)
    if evidence is not None and evidence.malformed:
        context.output.say(f"{evidence.malformed} of {evidence.lines} lines are none of a request log; left out.")
    context.output.result({**summary(profile), **more}, *lines(profile))


def summary(profile: BootProfile) -> dict[str, object]:
    """Return what there is to tell of a profile, as JSON."""
    return {
        "id": profile.image_id,
        "version": profile.version,
        "name": profile.name,
        "path": ProfilePlace.of(profile).path,
        "recorded": profile.recorded,
        "seconds": profile.seconds,
        "sessions": profile.sessions,
        "bytes": profile.size_bytes,
        "ranges": len(profile.ranges),
    }


def lines(profile: BootProfile) -> Iterator[str]:
    """Yield what there is to tell of a profile."""
    sessions = "1 session" if profile.sessions == 1 else f"{profile.sessions} sessions"
    yield (
        f"{profile.name} of {profile.image_id}: {format_size(profile.size_bytes)} in {len(profile.ranges)} ranges, "
        f"from the first {profile.seconds} s of {sessions}"
    )
    yield f"version {profile.version}, learned {profile.recorded}"
