"""The usual variables of each kind of store: where it is, and whether there are credentials for it (http.md §10).

The client reads credentials from the process's environment by itself. Without any it would ask the metadata service
of a cloud, at an address that leads elsewhere to nowhere, or to somebody else: a variable has to name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from aero_storage.errors import SettingsError
from aero_storage.settings.origin_url import OriginUrlError, endpoint_host

_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})


@attrs.frozen
class _Kind:
    """The variables of one kind of store."""

    endpoints: tuple[str, ...]
    """The strongest first."""
    default_endpoint: str
    anonymous: str
    credentials: tuple[str, ...]
    metadata: tuple[str, ...]
    account: str = ""
    """A variable that has to be set beside them."""
    emulator: str = ""


_KINDS: Mapping[str, _Kind] = MappingProxyType({
    "s3": _Kind(
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "https://s3.amazonaws.com",
        "AWS_SKIP_SIGNATURE",
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
        ("AWS_METADATA_ENDPOINT",),
    ),
    "gs": _Kind(
        ("GOOGLE_BASE_URL",),
        "https://storage.googleapis.com",
        "GOOGLE_SKIP_SIGNATURE",
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_BEARER_TOKEN",
        ),
        ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"),
    ),
    "az": _Kind(
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "https://blob.core.windows.net",
        "AZURE_SKIP_SIGNATURE",
        (
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_CLIENT_SECRET",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TOKEN",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_USE_AZURE_CLI",
        ),
        ("AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT"),
        account="AZURE_STORAGE_ACCOUNT_NAME",
        emulator="AZURE_STORAGE_USE_EMULATOR",
    ),
})  # fmt: skip


@attrs.frozen
class Endpoint:
    """Where a store is; `allow_http` if its variable says http://. There is no secret in it."""

    text: str
    allow_http: bool


def endpoint_of(scheme: str, environ: Mapping[str, str]) -> Endpoint:
    """Return the endpoint that the variables name, else the store's own. Raises SettingsError."""
    kind = _KINDS[scheme]
    text, account = kind.default_endpoint, environ.get(kind.account, "")
    if _is_true(environ.get(kind.emulator, "")):
        return Endpoint("http://127.0.0.1:10000/devstoreaccount1", allow_http=True)
    if name := next((one for one in kind.endpoints if environ.get(one)), None):
        try:
            text = endpoint_host(environ[name])
        except OriginUrlError as error:
            raise SettingsError(f"variable {name}: the value (not shown) is not {error}") from None
    return Endpoint(f"{text} {account}".strip(), allow_http=text.startswith("http://"))


def check_credentials(scheme: str, environ: Mapping[str, str]) -> None:
    """Raise SettingsError if the variables name neither credentials nor a place to ask for them."""
    kind = _KINDS[scheme]
    if _is_true(environ.get(kind.emulator, "")):
        return
    if kind.account and not environ.get(kind.account):
        raise SettingsError(f"{scheme}:// needs the name of the account; set {kind.account}")
    named = any(environ.get(name) for name in (*kind.credentials, *kind.metadata))
    if named or _is_true(environ.get(kind.anonymous, "")):
        return
    raise SettingsError(
        f"{scheme}:// needs credentials in the store's variables, such as {kind.credentials[0]};"
        f" {kind.anonymous}=true reads without, and {kind.metadata[0]} names a metadata service to ask"
    )


def _is_true(text: str) -> bool:
    return text.strip().lower() in _TRUE
