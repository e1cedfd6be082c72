"""A conditional write whose answer may be lost, to stores that read `If-Match` in two ways."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from typing_extensions import Buffer

from aero_storage.errors import PreconditionFailedError, PreconditionUnsupportedError
from aero_storage.storage.objects.origin import Pin
from aero_storage.storage.objects.store_failures import CHANGED, DENIED, ERROR, StoreFailureError

_CONFLICT, _NOT_IMPLEMENTED = 409, 501


@attrs.define(eq=False)
class ConditionalPut:
    """Writes in place of a known object, or where there is none.

    Ceph takes a tag in `If-Match` of a PUT without its quotes alone. It is asked with them first, as RFC 9110 has it,
    and how the store has it is remembered.
    """

    _without_quotes: bool = False

    def attempt(
        self,
        write: Callable[[object], Pin],
        present: Callable[[], tuple[Pin | None, bytes | None]],
        data: Buffer,
        expected: Pin | None,
    ) -> Pin:
        """Try to write once; after a failure look at what is there.

        Raises PreconditionFailedError, PreconditionUnsupportedError, or StoreFailureError: another try may succeed.
        """
        quoted = not self._without_quotes
        try:
            return write(self._mode(expected))
        except StoreFailureError as failure:
            if failure.status == _NOT_IMPLEMENTED:
                raise PreconditionUnsupportedError(f"the store has no conditional writes: {failure}") from None
            if failure.result == DENIED:
                raise
            refused = failure
        pin, content = present()
        if pin is not None and content is not None and memoryview(content) == memoryview(data).cast("B"):
            return pin
        if (None if pin is None else pin.tag) != (None if expected is None else expected.tag):
            raise PreconditionFailedError("somebody else has written it")
        raise self._again(refused, quoted=quoted)

    def _again(self, refused: StoreFailureError, *, quoted: bool) -> Exception:
        """Return the error of a write that was not done, though the object is as expected."""
        if refused.result != CHANGED:
            return refused
        if quoted:
            self._without_quotes = True
            return StoreFailureError(ERROR, "412, though the object is as expected")
        self._without_quotes = False
        return PreconditionUnsupportedError("the store refuses conditional writes to what is as expected: 412")

    def _mode(self, expected: Pin | None) -> object:
        if expected is None:
            return "create"
        tag = expected.tag.strip('"') if self._without_quotes else expected.tag
        return {"e_tag": tag} if expected.version is None else {"e_tag": tag, "version": expected.version}
