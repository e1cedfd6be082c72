"""Opens the origin that a URL names."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from aero_storage.errors import SettingsError
from aero_storage.settings.origin_url import OriginUrl
from aero_storage.storage.objects.credentials_file import CredentialsFile
from aero_storage.storage.objects.origin import NoObserver, Observer, Origin
from aero_storage.storage.objects.retries import FULL_TRY, Retries
from aero_storage.storage.objects.store_variables import check_credentials, endpoint_of

EXTRA = "aero-storage[object]"
"""The extra that brings the client of object stores."""


def open_origin(
    url: OriginUrl,
    environ: Mapping[str, str],
    seconds: float,
    observer: Observer | None = None,
    waits: Callable[[str, float], object] = lambda _text, _seconds: None,
) -> Origin:
    """Return the origin behind a URL; nothing is asked of it yet.

    `environ` is that of the process, from which the client takes credentials by itself, but for those in a file.
    `seconds` is the time limit of one piece. `waits` is told, in one line, of each request that failed and is tried
    again, and for how many seconds it was tried by then. Raises SettingsError, whose one line says what is missing:
    the extra, or credentials.
    """
    try:
        from aero_storage.storage.objects.obstore_origin import ObstoreOrigin  # noqa: PLC0415 - an optional extra
        from aero_storage.storage.objects.store_client import StoreClient  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise SettingsError(f"{url} needs the client of object stores: pip install '{EXTRA}'") from None
    endpoint = endpoint_of(url.scheme, environ)
    check_credentials(url.scheme, environ)
    credentials = CredentialsFile.of(url.scheme, environ)
    client = StoreClient(url, endpoint.allow_http, observer or NoObserver(), time.monotonic, credentials)
    client.prepare(FULL_TRY * seconds)
    # Jitter: nothing that has to be unpredictable.
    retries = Retries(time.monotonic, time.sleep, random.random)
    return ObstoreOrigin(client, endpoint.text, seconds, retries, waits=waits)
