"""Errors of the object store's client, sorted by what follows from them.

The client's texts hold URLs, which may be signed, and what the store says, which may name an access key. Nothing of
them is passed on but the status and the store's word, if both have the form of such.
"""

from __future__ import annotations

import re

from aero_storage.errors import AeroStorageError
from aero_storage.storage.objects.keys import shown

OK, NOT_FOUND, CHANGED, THROTTLED, TIMEOUT, DENIED, ERROR = (
    "ok",
    "not_found",
    "changed",
    "throttled",
    "timeout",
    "denied",
    "error",
)
RETRIED = frozenset({THROTTLED, TIMEOUT, ERROR})
"""Results after which the same request may succeed."""

_STATUS = re.compile(r"status code: ([1-5][0-9]{2})\b", re.ASCII)
_WORD = re.compile(r"(?:<Code>|\(code: )([A-Z][a-z][A-Za-z0-9.]{0,62})(?:</Code>|\))", re.ASCII)  # no id of a key
_UNNAMEABLE = re.compile(r'invalid path: (?:Error parsing )?Path "(.*?)"(?:: | contained )', re.DOTALL)
_UNNAMEABLE_DETAIL = "a key with an empty part, a dot as a part, or what cannot be printed: {}"
_DENIED_WORDS = frozenset({
    *("AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed", "ExpiredToken"),
    *("InvalidAccessKeyId", "InvalidSecurity", "InvalidToken", "NotSignedUp", "RequestExpired"),
    *("RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired", "AuthenticationFailed"),
    *("AuthorizationFailure", "AuthorizationPermissionMismatch", "InsufficientAccountPermissions"),
})  # fmt: skip
_THROTTLED_WORDS = frozenset({"SlowDown", "ServerBusy", "TooManyRequests", "RequestLimitExceeded", "Throttling"})
_NO_BUCKET_WORDS = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"})
_MENDING = {
    "NoSuchBucket": (
        "the bucket does not exist; look at the bucket's name and at AWS_ENDPOINT_URL, or make the bucket"
    ),
    "ContainerNotFound": (
        "the container does not exist; look at the container's name and at AZURE_STORAGE_ACCOUNT_NAME, or make the"
        " container"
    ),
    "InvalidAccessKeyId": "the store does not know the key; look at AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL",
    "SignatureDoesNotMatch": "the secret is another than the store has; look at AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "the clocks of this machine and of the store differ; set them",
    "AccessDenied": "these credentials may not do this; look at the bucket's policy",
    "ExpiredToken": "the credentials have lapsed; get new ones",
}
"""The remedy for a word of a store."""

_BY_STATUS = {
    401: DENIED,
    403: DENIED,
    404: NOT_FOUND,
    408: TIMEOUT,
    412: CHANGED,
    416: CHANGED,  # a range within the pinned size: the object has become shorter
    429: THROTTLED,
    503: THROTTLED,
    504: TIMEOUT,
}
_BY_CLASS = {
    "FileNotFoundError": NOT_FOUND,
    "PreconditionError": CHANGED,
    "NotModifiedError": CHANGED,
    "PermissionDeniedError": DENIED,
    "UnauthenticatedError": DENIED,
}
_SILENCE = ("no answer in time", "no connection")
_TROUBLES = (
    ("kind: Timeout", _SILENCE[0]),
    ("kind: Connect", _SILENCE[1]),
    ("kind: Interrupted", "the connection was cut"),
    ("redirect without LOCATION", "a redirect, as to another region: set AWS_REGION"),
    ("UnexpectedRange", "another range than was asked for"),
    ("non-partial response", "200 to a request for a range"),
    ("list response", "no listing"),
    ("credential", "no credentials"),
)


class StoreFailureError(AeroStorageError):
    """A request did not do what it was to do; `result` is a word of the metrics, the message has no secret."""

    def __init__(
        self,
        result: str,
        detail: str,
        status: int | None = None,
        word: str | None = None,
        *,
        is_unnameable: bool = False,
    ) -> None:
        super().__init__(detail)
        self.result = result
        self.status = status
        self.word = word
        self.is_unnameable = is_unnameable
        """Whether a listing has a key that the client cannot name: it will have it the next time, too."""

    @property
    def is_silence(self) -> bool:
        """Whether no answer came at all."""
        return str(self) in _SILENCE

    @property
    def is_retried(self) -> bool:
        """Whether the same request may succeed in a moment; not where there is no bucket."""
        return self.result in RETRIED and self.word not in _NO_BUCKET_WORDS and not self.is_unnameable


class OtherSizeError(StoreFailureError):
    """An answer to GET tells another size of the pinned object than was seen: this answer or that look is wrong."""

    def __init__(self) -> None:
        super().__init__(ERROR, "another size than was seen")


def failure_of(error: Exception) -> StoreFailureError:
    """Return what an error of the client means."""
    text = str(error)
    unnameable = _UNNAMEABLE.search(text)
    if unnameable is not None:
        return StoreFailureError(ERROR, _UNNAMEABLE_DETAIL.format(shown(unnameable[1])), is_unnameable=True)
    found, worded = _STATUS.search(text), _WORD.search(text)
    status = int(found[1]) if found else None
    word = worded[1] if worded else None
    result = _result_of(type(error).__name__, status, word, text)
    return StoreFailureError(result, _detail(status, word, text), status, word)


def _result_of(name: str, status: int | None, word: str | None, text: str) -> str:
    if word in _DENIED_WORDS:
        return DENIED
    if word in _THROTTLED_WORDS:
        return THROTTLED
    if word in _NO_BUCKET_WORDS:  # 404 as well, but says nothing of the object
        return ERROR
    if status is not None:
        return _BY_STATUS.get(status, ERROR)
    return TIMEOUT if "kind: Timeout" in text else _BY_CLASS.get(name, ERROR)


def _detail(status: int | None, word: str | None, text: str) -> str:
    if status is not None:
        said = f"{status} {word}" if word else str(status)
        return f"{said}: {_MENDING[word]}" if word in _MENDING else said
    return word or next((said for sign, said in _TROUBLES if sign in text), "no right answer")
