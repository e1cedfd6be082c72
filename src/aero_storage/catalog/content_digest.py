"""The SHA-256 digest of an image's content, and the state of the file that it was computed from (http.md §16)."""

from __future__ import annotations

import os
import re

import attrs

from aero_storage.http.dates import usable_mtime

_COUNT = r"(?:0|[1-9][0-9]{0,19})"
_TIME = r"(?:0|-?[1-9][0-9]{0,19})"
_STAMP = re.compile(rf"{_COUNT}-{_TIME}(-{_TIME}-{_COUNT})?")
_OBJECT_STAMP = re.compile(rf'{_COUNT}-(?:"[\x21\x23-\x7e]*"|[0-9A-Za-z]{{16,128}}(?:-[0-9]{{1,5}})?)', re.ASCII)


def is_stamp(text: str) -> bool:
    """Return whether `text` has the form of one of `stamps`, or of `object_stamps`."""
    return (_STAMP.fullmatch(text) or _OBJECT_STAMP.fullmatch(text)) is not None


def stamps(size: int, mtime_ns: int, ctime_ns: int, inode: int) -> tuple[str, str]:
    """Return the two texts that name the state of a file, either of which an entry may have as `sha256_of`.

    `<size>-<mtime_ns>`; and the same with `-<ctime_ns>-<inode>`.
    """
    short = f"{size}-{mtime_ns}"
    return short, f"{short}-{ctime_ns}-{inode}"


def object_stamps(size: int, tag: str) -> tuple[str, str]:
    """Return the two texts that name the state of an object: `<size>-<etag>`, the ETag with its quotes or without."""
    bare = tag.strip('"')
    return f"{size}-{tag}", f"{size}-{bare}"


def stamps_of(status: os.stat_result) -> tuple[str, str]:
    """Return the stamps of a file with this status."""
    return stamps(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def disagreement(stamp: str, found: tuple[str, ...]) -> str:
    """Return, in words, that `stamp`, the `sha256_of` of an entry, is none of the `found` stamps of its file."""
    match = _STAMP.fullmatch(stamp)
    same_form = found[-1 if match is not None and match[1] is not None else 0]
    return f"sha256_of is {stamp}, but the file is {same_form}: its sha256 counts as unset"


@attrs.frozen
class ContentDigest:
    """The SHA-256 digest (64 lower-case hex digits) of a file, and the stamp that the file had."""

    sha256: str
    stamp: str

    @classmethod
    def of(cls, sha256: str, status: os.stat_result) -> ContentDigest:
        """Return the digest as computed from a file that had, and has, this status.

        An mtime that build systems set to a constant is no evidence of sameness: ctime and inode go into the stamp.
        """
        short, long = stamps_of(status)
        return cls(sha256, long if usable_mtime(status.st_mtime_ns) is None else short)

    def keys(self) -> dict[str, object]:
        """Return the keys of a catalog entry."""
        return {"sha256": self.sha256, "sha256_of": self.stamp}
