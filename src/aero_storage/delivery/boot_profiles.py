"""The stored boot profiles: looked at in threads, checked, and remembered (http.md §15). Knows no web framework.

Each response with bytes of an image says whether it has a profile. So that is remembered for many images, and kept up
to date by looks at many files at once; the documents themselves are remembered for a few.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache, partial

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aero_storage.catalog.model import Image
from aero_storage.delivery.representation import version_of
from aero_storage.delivery.waiters import Waiters
from aero_storage.errors import ClientError, JsonError
from aero_storage.logs.json_log import EventLog
from aero_storage.profiles.document import BOOT, parse_profile, profile_path
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.profile_files import ProfileFiles

MOST_KNOWN = 16_384
"""Profiles of which it is remembered whether they are there."""

MOST_BODY_BYTES = 16 * 1024 * 1024
"""Limit of the documents that are remembered."""

LOOKED_AT_ONCE = 1000
"""Files of a directory that are looked at in one step, in some 5 ms of a thread."""

LINK_SECONDS = 1.0
"""Time that a request waits to learn whether there is a profile."""

ASKED_SECONDS = 60.0
"""So long after the last request a bucket is listed."""

_TAG_DIGITS = 32
_UNSEEN = object()


@attrs.frozen(cache_hash=True)
class ProfileKey:
    """A profile, and the size of the image that it is of, in bytes."""

    image_id: str
    version: str
    name: str
    size: int

    @property
    def path(self) -> str:
        """Where it is stored, relative to the images root."""
        return profile_path(self.image_id, self.version, self.name)


@attrs.frozen
class ProfileBody:
    """The document of a profile as it is served, and its tag."""

    data: bytes = attrs.field(repr=False)
    etag: str


@attrs.frozen
class _Found:
    """The result of a look: a profile, or none, or one that is not valid."""

    digest: bytes | None = None
    """Of the stored bytes; None if there are none."""
    body: ProfileBody | None = None
    fault: str | None = None


@attrs.define(eq=False)
class _Known:
    """The memory of a profile: whether it is there and valid, and as of when."""

    digest: bytes | None
    is_valid: bool
    checked: float
    stamp: Hashable = _UNSEEN
    """Of the last look at many files."""


class ProfileLinks:
    """The boot profiles of images; here there are none."""

    def __init__(self) -> None:
        self.mark: object = None
        """Another object after each change; requests compare it."""
        self.asked = False
        """Set by each request."""

    def has_boot(self, _image: Image, _status: BlobStatus) -> bool | None:
        """Return whether an image, whose file has this status, has a boot profile; None if that is not known."""
        return False

    async def know(self, _image: Image, _status: BlobStatus) -> bool:
        """Find out whether an image has a boot profile; False if that takes too long."""
        return False

    async def find(self, _key: ProfileKey) -> ProfileBody | None:
        """Return a profile, None if there is none that is valid. Raises ClientError."""
        return None

    async def refresh(self) -> None:
        """Look whether profiles that are known of have come, changed, or gone."""


class BootProfiles(ProfileLinks):
    """The profiles below one images root; used on the reactor's thread."""

    def __init__(self, files: ProfileFiles, clock: IReactorTime, log: EventLog, fresh_seconds: float) -> None:
        super().__init__()
        self._files, self._clock, self._log, self._fresh_seconds = files, clock, log, fresh_seconds
        self._known: OrderedDict[ProfileKey, _Known] = OrderedDict()
        self._bodies: OrderedDict[ProfileKey, ProfileBody] = OrderedDict()
        self._body_bytes = 0
        self._looks: dict[ProfileKey, Waiters[ProfileBody | None]] = {}
        self._last_asked = 0.0

    # For links

    def has_boot(self, image: Image, status: BlobStatus) -> bool | None:
        """Return whether an image, whose file has this status, has a boot profile; None if that is not known."""
        key = _boot_key(image, status)
        if key is None:
            return False
        known = self._known.get(key)
        return None if known is None else known.is_valid

    async def know(self, image: Image, status: BlobStatus) -> bool:
        """Find that out; False after a short time: a link is a hint, and bytes do not wait for it."""
        key = _boot_key(image, status)
        if key is not None and key not in self._known:
            await self._look_for_link(key)
        return bool(self.has_boot(image, status))

    async def _look_for_link(self, key: ProfileKey) -> None:
        looking = self._look(key).addErrback(_give_up)
        looking.addTimeout(LINK_SECONDS, self._clock, onTimeoutCancel=lambda _result, _seconds: None)
        await looking
        if key not in self._known:
            self._remember(key, _Found())

    # For the route

    async def find(self, key: ProfileKey) -> ProfileBody | None:
        """Return a profile, None if there is none that is valid. Raises ClientError."""
        self.asked = True
        known = self._known.get(key)
        if known is not None and self._clock.seconds() - known.checked < self._fresh_seconds:
            body = self._bodies.get(key)
            if body is not None or not known.is_valid:
                return body
        return await self._look(key)

    # Looks

    def _look(self, key: ProfileKey) -> Deferred[ProfileBody | None]:
        """Read a profile, once for all who ask meanwhile; can be cancelled."""
        waiters = self._looks.get(key)
        if waiters is None:
            waiters = self._looks[key] = Waiters(self._clock)
            joined = waiters.join()
            Deferred.fromCoroutine(self._read(key)).addBoth(self._looked, key)
            return joined
        return waiters.join()

    def _looked(self, outcome: object, key: ProfileKey) -> None:
        self._looks.pop(key).tell(outcome)  # type: ignore[arg-type]

    async def _read(self, key: ProfileKey) -> ProfileBody | None:
        known, body = self._known.get(key), self._bodies.get(key)
        same = known.digest if known is not None and (body is not None or not known.is_valid) else None
        found = await self._files.threads.run(partial(_find, self._files, key, same), lane=self._files.lane)
        if found is None:  # as it was
            assert known is not None  # noqa: S101 - compared with it
            known.checked = self._clock.seconds()
            return body
        self._remember(key, found)
        return found.body

    def _remember(self, key: ProfileKey, found: _Found) -> None:
        before = self._known.pop(key, None)
        known = _Known(found.digest, found.body is not None, self._clock.seconds())
        self._known[key] = known
        if len(self._known) > MOST_KNOWN:
            self._forget(next(iter(self._known)))
        self._keep(key, found.body)
        if found.fault is not None and (before is None or before.digest != found.digest):
            self._tell(key, found.fault)
        if key.name == BOOT and known.is_valid is not (before is not None and before.is_valid):
            self.mark = object()

    def _forget(self, key: ProfileKey) -> None:
        if self._known.pop(key).is_valid:
            self.mark = object()
        self._keep(key, None)

    def _keep(self, key: ProfileKey, body: ProfileBody | None) -> None:
        before = self._bodies.pop(key, None)
        self._body_bytes -= 0 if before is None else len(before.data)
        if body is not None:
            self._bodies[key] = body
            self._body_bytes += len(body.data)
        while self._body_bytes > MOST_BODY_BYTES:
            self._body_bytes -= len(self._bodies.popitem(last=False)[1].data)

    def _tell(self, key: ProfileKey, fault: str) -> None:
        fields = {"image_id": key.image_id, "file": key.path, "reason": fault}
        self._log.event("warn", "stored boot profile is not valid", fields)

    # All that are known

    async def refresh(self) -> None:
        """Look whether profiles that are known of have come, changed, or gone."""
        files, now = self._files, self._clock.seconds()
        if self.asked:
            self.asked, self._last_asked = False, now
        if not self._known or (files.costs and now - self._last_asked > ASKED_SECONDS):
            return
        number = len(self._known) if files.costs else LOOKED_AT_ONCE
        keys = [key for key, _ in zip(self._known, range(number), strict=False)]
        try:
            look = partial(files.stamps, [key.path for key in keys])
            stamps = await files.threads.run(look, lane=files.lane)
            for key in keys:
                await self._compare(key, stamps.get(key.path))
        except ClientError:  # a disk that hangs, or an origin that is away: told elsewhere
            return

    async def _compare(self, key: ProfileKey, stamp: Hashable | None) -> None:
        known = self._known.get(key)
        if known is None:
            return
        if stamp != known.stamp and not (stamp is None and known.digest is None):
            await self._look(key)
            known = self._known.get(key, known)
        known.stamp, known.checked = stamp, self._clock.seconds()
        if key in self._known:
            self._known.move_to_end(key)


def _give_up(failure: Failure) -> None:
    if not isinstance(failure.value, (ClientError, CancelledError)):
        failure.raiseException()


def profile_key(image: Image, status: BlobStatus, name: str) -> ProfileKey | None:
    """Return the key of a profile of the version that an image has now; None if it has no version."""
    version = version_of(image, status)
    return None if version is None else ProfileKey(image.id, version, name, status.size)


@lru_cache(256)
def _boot_key(image: Image, status: BlobStatus) -> ProfileKey | None:
    return profile_key(image, status, BOOT)


def _find(files: ProfileFiles, key: ProfileKey, same: bytes | None) -> _Found | None:
    """Read and check a profile, in a thread; None if its bytes have the digest `same`."""
    try:
        data = files.read(key.path)
    except JsonError as error:
        return _Found(b"", fault=str(error))
    if data is None:
        return _Found()
    digest = hashlib.sha256(data).digest()
    return None if digest == same else _checked(data, digest, key)


def _checked(data: bytes, digest: bytes, key: ProfileKey) -> _Found:
    try:
        profile = parse_profile(data, key.size)
    except JsonError as error:
        return _Found(digest, fault=str(error))
    if (profile.image_id, profile.version, profile.name) != (key.image_id, key.version, key.name):
        return _Found(digest, fault="it is of another image, version or name")
    return _Found(digest, ProfileBody(data, f'"profile-{digest.hex()[:_TAG_DIGITS]}"'))
