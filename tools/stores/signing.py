"""Requests that no client library makes for us: signed as S3 (Signature Version 4) and Azure (Shared Key) ask for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

import attrs

TIMEOUT_SECONDS = 30
AZURE_VERSION = "2021-12-02"
UNSIGNED = "UNSIGNED-PAYLOAD"


@attrs.frozen
class Answer:
    """An answer whose body has been read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class S3Key:
    """A key of an S3 user."""

    access: str
    secret: str = attrs.field(repr=False)
    region: str

    def headers(self, method: str, url: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers of a request for a URL, those that are given among them, signed now."""
        parts = urlsplit(url)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {name.lower(): value for name, value in (given or {}).items()}
        headers |= {"host": parts.netloc, "x-amz-date": now, "x-amz-content-sha256": UNSIGNED}
        names = ";".join(sorted(headers))
        query = "&".join(f"{quote(name, '')}={quote(value, '')}" for name, value in sorted(pairs(parts.query)))
        lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
        canonical = "\n".join([method, parts.path or "/", query, *lines, "", names, UNSIGNED])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = self._sign(scope, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}")
        credential = f"Credential={self.access}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}

    def _sign(self, scope: str, text: str) -> str:
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


@attrs.frozen
class AzureKey:
    """The key of an Azure account."""

    account: str
    secret: str = attrs.field(repr=False)

    def headers(self, method: str, url: str) -> dict[str, str]:
        """Return the headers of a request without a body, signed now."""
        parts = urlsplit(url)
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        signed = {"x-ms-date": date, "x-ms-version": AZURE_VERSION}
        lines = [f"{name}:{value}" for name, value in sorted(signed.items())]
        query = [f"{name}:{value}" for name, value in sorted(pairs(parts.query))]
        # Twelve headers of which we send none; the account stands twice, as the emulator has it in the path too.
        text = "\n".join([method, *[""] * 11, *lines, f"/{self.account}{parts.path}", *query])
        signature = base64.b64encode(hmac.digest(base64.b64decode(self.secret), text.encode(), "sha256")).decode()
        return {**signed, "content-length": "0", "authorization": f"SharedKey {self.account}:{signature}"}


def pairs(query: str) -> list[tuple[str, str]]:
    """Return names and values of a query, also those without a value."""
    return parse_qsl(query, keep_blank_values=True)


def send(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Send one request on a connection of its own, and read the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, f"{parts.path or '/'}?{parts.query}".rstrip("?"), body or None, dict(headers))
        response = connection.getresponse()
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
    finally:
        connection.close()
