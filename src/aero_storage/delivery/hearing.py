"""The tokens that one request presents, and what they have turned out to be so far."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import attrs

from aero_storage.http.leases.carriers import Presented
from aero_storage.http.leases.claims import READ_SCOPE
from aero_storage.http.leases.judgement import Verdict, Wanted, judge, judge_time
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.verification import Lease

Standing = Lease | LeaseResult
"""A verified token: its lease, or the word with which it is refused."""


@attrs.define(eq=False)
class Hearing:
    """The tokens of one request in the order in which they count, and what is known of each."""

    wanted: Wanted
    presented: tuple[Presented, ...]
    url_versions: Collection[str] = ()
    """Versions that the URL of a chunk means, besides that of the image."""
    standings: list[Standing | None] = attrs.field(init=False)
    """None for a token that is not verified yet."""

    @standings.default
    def _nothing_known(self) -> list[Standing | None]:
        return [None] * len(self.presented)

    def unverified(self) -> Iterator[int]:
        """Yield the places of the tokens that are not verified yet."""
        return (at for at, standing in enumerate(self.standings) if standing is None)

    def verdict(self, at: int, wanted: Wanted, now: float, leeway: float) -> Verdict | None:
        """Return the answer to one token, None if it is not verified yet."""
        standing, shown = self.standings[at], self.presented[at]
        if standing is None:
            return None
        if isinstance(standing, LeaseResult):
            return Verdict(standing, shown)
        return Verdict(judge(standing, wanted, now, leeway, in_url=shown.in_url), shown, standing)

    def verdicts(self, wanted: Wanted, now: float, leeway: float) -> Iterator[Verdict]:
        """Yield the answers to all tokens that are verified."""
        for at in range(len(self.presented)):
            verdict = self.verdict(at, wanted, now, leeway)
            if verdict is not None:
                yield verdict

    def verdicts_for_any_image(self, now: float, leeway: float) -> Iterator[Verdict]:
        """Yield the answers to all tokens that are verified, whichever images they name: for the list."""
        for shown, standing in zip(self.presented, self.standings, strict=True):
            if isinstance(standing, Lease):
                result = judge_time(standing.claims, now, leeway, in_url=shown.in_url)
                is_readable = READ_SCOPE in standing.claims.scopes
                yield Verdict(result or (LeaseResult.OK if is_readable else LeaseResult.WRONG_SCOPE), shown, standing)
            elif standing is not None:
                yield Verdict(standing, shown)

    def good_leases(self, now: float, leeway: float) -> Iterator[Lease]:
        """Yield the leases that are good for some image."""
        for verdict in self.verdicts_for_any_image(now, leeway):
            if verdict.result is LeaseResult.OK and verdict.lease is not None:
                yield verdict.lease

    def is_settled(self, verdict: Verdict) -> bool:
        """Whether a good lease is good whatever version of the image will be opened."""
        version = None if verdict.lease is None else verdict.lease.claims.version
        return version is None or self.wanted.versions is not None or version in self.url_versions
