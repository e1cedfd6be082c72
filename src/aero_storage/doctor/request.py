"""A request as a value, and how a lease travels in it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from aero_storage.chunks.verify.remote import brief
from aero_storage.http.leases.carriers import COOKIES, PARAMETER, Carrier, Presented


@attrs.frozen
class Request:
    """A request; its text, for messages, has neither the lease nor headers that go with all requests."""

    method: str
    path: str
    own: Mapping[str, str]
    lease: Presented | None = None

    def __str__(self) -> str:
        fields = "".join(f", {name}: {brief(value)}" for name, value in self.own.items())
        return f"{self.method} {self.path}{fields}{f', lease by {self.lease.carrier.value}' if self.lease else ''}"

    def sent(self, prefix: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Return target and headers with the lease."""
        target = prefix + self.path
        if self.lease is None:
            return target, headers
        token = self.lease.token
        if self.lease.carrier is Carrier.QUERY:
            return f"{target}{'&' if '?' in target else '?'}{PARAMETER}={token}", headers
        if self.lease.carrier is Carrier.BEARER:
            return target, {**headers, "Authorization": f"Bearer {token}"}
        others = f"{headers['Cookie']}; " if "Cookie" in headers else ""
        return target, {**headers, "Cookie": f"{others}{COOKIES[-1]}={token}"}
