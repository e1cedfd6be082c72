"""Check of the boot profile: its document, and the link that clients learn of it by (http.md §15)."""

from __future__ import annotations

from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check, wrong_status
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, good, warning
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import images_path
from aero_storage.errors import JsonError
from aero_storage.profiles.document import BOOT, MOST_BYTES, BootProfile, parse_profile
from aero_storage.strict_json import show

_OK, _NOT_FOUND = 200, 404
_RELATION = "urn:aero-storage:profile"
_UNUSED = "clients that look for it here boot without it, with one request after the other"
_UNCACHED = "let the proxy keep no JSON (the daemon says no-cache), and pass all below /v1/images/ on as it is"


def _profile(session: Session) -> Result:
    answer = session.fetch("GET", images_path(session.image, "/profile"), most=MOST_BYTES)
    link = session.head().get("Link") or ""
    if answer.status == _NOT_FOUND and _RELATION not in link:
        raise SkippedError("the image has no boot profile: aero-storage profile learn makes one")
    if answer.status == _NOT_FOUND:
        return warning(f"{answer.request}: status 404, but Link: {brief(link)}", _UNUSED, _UNCACHED)
    if answer.status != _OK:
        return wrong_status(answer, "200")
    try:
        profile = parse_profile(answer.body, session.size)
    except JsonError as error:
        return warning(f"{answer.request}: no boot profile of this image: {error}", _UNUSED, _UNCACHED)
    return _other(session, answer, profile) or _unlinked(session, link) or good(_words(profile))


def _other(session: Session, answer: Response, profile: BootProfile) -> Result | None:
    version = session.metadata().get("version")
    if profile.image_id == session.image and profile.version == version and profile.name == BOOT:
        return None
    of = f"{profile.name} of {profile.image_id} in its version {profile.version}"
    return warning(f"{answer.request}: {of}, but the image has {show(version)}", _UNUSED, _UNCACHED)


def _unlinked(session: Session, link: str) -> Result | None:
    if _RELATION in link:
        return None
    seen = f"{session.head().request}: no Link to the profile that is there"
    return warning(seen, _UNUSED, f"in nginx: no proxy_hide_header; {advice.KEEP_HEADERS}")


def _words(profile: BootProfile) -> str:
    return f"{len(profile.ranges)} ranges, learned {profile.recorded} from {profile.sessions} sessions; Link"


CHECKS = (Check("profile", "Clients find the boot profile, and it is of this image", _profile),)
