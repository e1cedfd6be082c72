"""The last questions before a range of a public image is sent that was decided before.

Nearly all requests of a busy server are for one more range of an image that is open already. Such a request waits for
nothing and holds nothing when its response has been sent, so it needs no exchange: every rule that could answer it
otherwise is a comparison here.
"""

from __future__ import annotations

import math

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.delivery.admission import Admission
from aero_storage.delivery.boot_profiles import ProfileLinks
from aero_storage.delivery.decision import Decision
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import Resource
from aero_storage.http.ranges import Segment, content_range
from aero_storage.open_file import OpenFile
from aero_storage.storage.store import Opened, RememberedFile


@attrs.frozen(eq=False)
class FastRange:
    """A decision for the ranges of an open image, and what it hangs on."""

    decision: Decision
    file: RememberedFile
    version: str
    most: float
    """The longest range that is sent, in bytes."""
    _current_catalog: CurrentCatalog
    _profiles: ProfileLinks
    _admission: Admission
    _catalog_mark: object
    _profiles_mark: object
    size: int = attrs.field(init=False)
    """Of the image, in bytes."""

    @size.default
    def _size(self) -> int:
        return self.decision.representation.size

    def file_now(self, now: float, seconds: float) -> OpenFile | None:
        """Return the file, if the decision holds at `now` and a request could have a place; else None.

        `now` is the `Date` of the response, in seconds since the epoch; the clock shows `seconds`.
        """
        profiles, date = self._profiles, self.decision.date
        profiles.asked = True
        if (
            self._current_catalog.current.mark is self._catalog_mark
            and profiles.mark is self._profiles_mark
            and self._admission.has_place
            and (date is None or date <= now)
        ):
            return self.file.current_file(seconds)
        return None

    def take_place(self, exchange: Exchange) -> bool:
        """Take a place for a response of which a part has been sent; False if there is none."""
        return exchange.take_place_now(self._admission)

    def reply(self, segment: Segment) -> Reply:
        """Return the reply with a part of the image, as the decision has it."""
        own = (("Content-Range", content_range(segment, self.size)),)
        return Reply(206, self.decision.headers, segment=segment, own=own, version=self.version)


def fast_range(
    decision: Decision,
    opened: Opened,
    current_catalog: CurrentCatalog,
    profiles: ProfileLinks,
    admission: Admission,
) -> FastRange | None:
    """Return the same for the decision about an image that anybody may read; None where more has to be asked."""
    facts, shown, policy = decision.facts, decision.representation, decision.policy
    is_plain = facts.method == "GET" and facts.resource is Resource.IMAGE and facts.forwarded is None
    depends_on_range = decision.fixed is None and shown.body is None and shown.ranges and decision.range_applies
    if (
        not (is_plain and depends_on_range)
        or shown.version is None
        or opened.remembered is None
        or decision.in_future
    ):
        return None
    return FastRange(
        decision,
        opened.remembered,
        shown.version,
        math.inf if policy.max_range_bytes is None else policy.max_range_bytes,
        current_catalog,
        profiles,
        admission,
        current_catalog.current.mark,
        profiles.mark,
    )
