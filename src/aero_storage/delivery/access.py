"""Whether a caller may have what a route's row asks for (http.md §12): nobody else looks at a token.

Judged at the head of a request, before a place is taken and before anything is opened. A lease for one version is
judged once more when the version is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import NoReturn

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Catalog, Image
from aero_storage.delivery.admission import identity_of
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.hearing import Hearing, Standing
from aero_storage.delivery.lease_replies import LeaseDeniedError
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.routes import Access, Resource
from aero_storage.delivery.token_verification import TokenVerification
from aero_storage.errors import LeaseLimitError
from aero_storage.http.forwarded import TrustedProxies
from aero_storage.http.leases.carriers import Presented, presented
from aero_storage.http.leases.judgement import MISSING, Verdict, Wanted, choose, judge, judge_time
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.verification import Lease, LeaseVerifier
from aero_storage.http.queries import first_value

_CHUNKED = frozenset({Resource.CHUNK, Resource.CHUNK_MANIFEST})


@attrs.define(eq=False)
class LeaseMemo:
    """The lease that has opened a request, for the next one with the same head but for its range."""

    verifier: LeaseVerifier | None = None
    """The one that has verified it; with another one in force it counts for nothing."""
    verdict: Verdict | None = None
    in_url: bool = False
    wanted: Wanted = Wanted("")
    earlier: tuple[tuple[Lease, bool], ...] = ()
    """Leases that stood before it and did not open the image, and whether they were in the URL."""

    def remember(self, verifier: LeaseVerifier, hearing: Hearing, verdict: Verdict) -> None:
        """Remember the lease that has won, if nothing but time can change that."""
        earlier = list(zip(hearing.standings, hearing.presented, strict=True))
        at = next(at for at, (_, shown) in enumerate(earlier) if shown is verdict.presented)
        known = tuple((one, shown.in_url) for one, shown in earlier[:at] if isinstance(one, Lease))
        if len(known) == at and hearing.is_settled(verdict):
            self.verifier, self.verdict, self.wanted = verifier, verdict, hearing.wanted
            self.in_url, self.earlier = hearing.presented[at].in_url, known

    def opens(self, verifier: LeaseVerifier, now: float, leeway: float) -> Lease | None:
        """Return the lease, if it still wins at this time."""
        verdict = self.verdict
        if verdict is None or verdict.lease is None or self.verifier is not verifier:
            return None
        if judge_time(verdict.lease.claims, now, leeway, in_url=self.in_url) is not None:
            return None
        if self.earlier and any(
            judge(one, self.wanted, now, leeway, in_url=url) is LeaseResult.OK for one, url in self.earlier
        ):
            return None
        return verdict.lease


@attrs.frozen(eq=False)
class LeaseAccess:
    """Judges the tokens of requests by the leases in force; `now` is the wall clock, in seconds since the epoch."""

    _leases: LeasesInForce
    _verification: TokenVerification
    _current_catalog: CurrentCatalog
    _proxies: TrustedProxies
    _now: Callable[[], float] = time.time
    _leeway: float = attrs.field(init=False)

    @_leeway.default
    def _rules_never_change(self) -> float:
        return self._leases.rules.leeway

    async def admit(self, exchange: Exchange) -> None:
        """Wait until it is known whether the caller may have what it asks for.

        Raises CatalogError, LeaseDeniedError and LeaseLimitError.
        """
        facts = exchange.facts
        if facts.route is None or facts.route.access is not Access.IMAGE or exchange.verdict is not None:
            return
        catalog = self._current_catalog.current
        if not facts.names.valid:
            return
        image = catalog.find(facts.names.image_id or "")
        if is_closed(catalog, image):
            await self._admit(exchange, image)

    async def admit_to(self, exchange: Exchange, image: Image) -> None:
        """Do the same for the image that is being opened, if nothing hung on a lease when the request came.

        The catalog may have made it private since, while the request waited.
        """
        if exchange.verdict is None and not image.public:
            await self._admit(exchange, image)

    async def _admit(self, exchange: Exchange, image: Image | None) -> None:
        hearing = exchange.hearing or self._hear(exchange, image)
        self._decide(exchange, hearing, await self._verdict(exchange, hearing))

    def admit_now(self, exchange: Exchange, image: Image | None, memo: LeaseMemo) -> bool:
        """Do the same for a closed image, if nothing has to be waited for; else return False."""
        if exchange.verdict is not None:
            return True
        verifier = self._leases.verifier
        exchange.lease = memo.opens(verifier, self._now(), self._leeway)
        if exchange.lease is not None:
            exchange.verdict = memo.verdict
            return True
        hearing = self._hear(exchange, image)
        verdict = self._verdict_now(exchange, hearing)
        if verdict is None:
            exchange.hearing = hearing  # `admit` goes on with it
            return False
        self._decide(exchange, hearing, verdict)
        memo.remember(verifier, hearing, verdict)
        return True

    async def leases_for_list(self, exchange: Exchange) -> list[Lease]:
        """Return the good leases of a request for the list, for whichever images. Raises LeaseLimitError.

        Tokens that are not good count as nothing there.
        """
        hearing = Hearing(Wanted(""), self._presented(exchange))
        client, leeway = identity_of(exchange.client), self._leeway
        for at, shown in enumerate(hearing.presented):
            hearing.standings[at] = self._verification.verify_now(client, shown.token)
        for at in hearing.unverified():
            if self._verification.has_failed_too_often(client) and any(hearing.good_leases(self._now(), leeway)):
                break
            hearing.standings[at] = await self._verified(exchange, hearing.presented[at])
        if hearing.presented:
            exchange.verdict = choose(hearing.verdicts_for_any_image(self._now(), leeway))
        return list(hearing.good_leases(self._now(), leeway))

    def refuse(self, exchange: Exchange, result: LeaseResult) -> NoReturn:
        """Answer a request with a word that was found after its lease was good. Raises LeaseDeniedError."""
        exchange.lease, exchange.hearing = None, None
        exchange.verdict = attrs.evolve(exchange.verdict or MISSING, result=result)
        raise LeaseDeniedError(exchange.verdict)

    def settle(self, exchange: Exchange, versions: Collection[str]) -> None:
        """Judge the tokens once more, for an image of these versions. Raises LeaseDeniedError."""
        hearing = exchange.hearing
        if hearing is not None:
            self._decide(exchange, hearing, choose(self._verdicts(hearing, versions)))

    def _hear(self, exchange: Exchange, image: Image | None) -> Hearing:
        facts = exchange.facts
        shown = self._presented(exchange)
        return Hearing(
            Wanted(facts.names.image_id or "", _versions_asked_for(facts)), shown, url_versions(facts, image)
        )

    def _presented(self, exchange: Exchange) -> tuple[Presented, ...]:
        facts = exchange.facts
        queries = [facts.query]
        question = facts.lease_question
        if question is not None and exchange.peer is not None and self._proxies.is_trusted(exchange.peer):
            queries += [uri.partition("?")[2] for uri in (question.original_uri, question.forwarded_uri) if uri]
        return presented(facts.authorization, queries, facts.cookies)

    async def _verdict(self, exchange: Exchange, hearing: Hearing) -> Verdict:
        while (verdict := self._verdict_now(exchange, hearing)) is None:
            at = next(hearing.unverified())
            hearing.standings[at] = await self._verified(exchange, hearing.presented[at])
        return verdict

    async def _verified(self, exchange: Exchange, shown: Presented) -> Standing:
        exchange.waiting = True
        try:
            return await self._verification.verify(identity_of(exchange.client), shown.token)
        finally:
            exchange.waiting = False

    def _verdict_now(self, exchange: Exchange, hearing: Hearing) -> Verdict | None:
        """Return the answer to a request, None if that has to wait. Raises LeaseLimitError."""
        client, now, leeway = identity_of(exchange.client), self._now(), self._leeway
        for at, shown in enumerate(hearing.presented):
            if hearing.standings[at] is None:
                hearing.standings[at] = self._verification.verify_now(client, shown.token)
            verdict = hearing.verdict(at, hearing.wanted, now, leeway)
            if verdict is not None and verdict.result is LeaseResult.OK and hearing.is_settled(verdict):
                return verdict
        verdict = choose(hearing.verdicts(hearing.wanted, now, leeway))
        if next(hearing.unverified(), None) is None:
            return verdict
        if not self._verification.has_failed_too_often(client):
            return None
        if verdict.result is LeaseResult.OK:
            return verdict
        raise LeaseLimitError("the client has shown too many bad tokens")

    def _verdicts(self, hearing: Hearing, versions: Collection[str]) -> list[Verdict]:
        wanted = attrs.evolve(hearing.wanted, versions=versions)
        return list(hearing.verdicts(wanted, self._now(), self._leeway))

    def _decide(self, exchange: Exchange, hearing: Hearing, verdict: Verdict) -> None:
        exchange.verdict, exchange.lease = verdict, None
        if verdict.result is not LeaseResult.OK:
            raise LeaseDeniedError(verdict)
        exchange.lease = verdict.lease
        exchange.hearing = None if hearing.is_settled(verdict) else hearing


def is_closed(catalog: Catalog, image: Image | None) -> bool:
    """Return whether an image, None for an unknown one, is served to holders of a lease alone.

    Unknown ones are answered as private ones are; a directory listing hides none.
    """
    return not catalog.listing if image is None else not image.public


def _versions_asked_for(facts: Facts) -> Collection[str] | None:
    """Return the version that a URL names; None where it is known only of the open file."""
    if facts.names.version is not None and facts.resource not in _CHUNKED:
        return (facts.names.version,)
    asked = first_value(facts.query, "version") if facts.resource is Resource.LEASE else None
    return (asked,) if asked else None


def url_versions(facts: Facts, image: Image | None) -> Collection[str]:
    """Return the version of published chunks that the URL of a chunk or of their manifest means."""
    if facts.resource not in _CHUNKED:
        return ()
    version = facts.names.version or (None if image is None else image.chunked_version)
    return () if version is None else (version,)
