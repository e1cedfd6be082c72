"""No key, signature or credential gets into a message, a repr or a traceback, whatever the store answers."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.object_store import faults
from tests.object_store.server import KEY_ID, SECRET, ObjectStore
from tests.storage.objects.conftest import MakeOrigin

from aero_storage.errors import AeroStorageError, SettingsError
from aero_storage.settings.origin_url import parse_origin_url
from aero_storage.storage.objects.obstore_origin import ObstoreOrigin
from aero_storage.storage.objects.opening import open_origin
from aero_storage.storage.objects.origin import Pin
from aero_storage.storage.objects.store_failures import failure_of

SESSION = "zqSessionOfTheTestsOnly"
SECRETS = (KEY_ID, SECRET, SESSION, "zqsecret", "Signature=", "AWS4")
TALKATIVE = (
    f"<AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 {SESSION}</StringToSign>"
    f"<SignatureProvided>Signature=zqsecret</SignatureProvided>"
)
"""What a store says of a signature that is wrong."""

CALLS: dict[str, Callable[[ObstoreOrigin], object]] = {
    "head": lambda origin: origin.head("a"),
    "get": lambda origin: origin.get("a", Pin('"x"'), 0, 5),
    "read": lambda origin: origin.read("a", 5),
    "put": lambda origin: origin.put("a", b"x"),
    "put_if": lambda origin: origin.put_if("a", b"x", None),
    "put_large": lambda origin: origin.put_large("a", [b"x"], 1),
    "list": lambda origin: [*origin.list("", delimiter=True)],
    "list flat": lambda origin: [*origin.list("", delimiter=False)],
    "delete": lambda origin: origin.delete(["a"]),
}
FAULTS = [
    faults.error(403, "SignatureDoesNotMatch", f"{TALKATIVE}</Message>{TALKATIVE}<Message>"),
    faults.error(403, f"{KEY_ID} <>", "a word that is none"),
    faults.error(403, KEY_ID),
    faults.error(500, "InternalError", TALKATIVE),
    faults.body(f"<Error>{TALKATIVE}".encode()),
    faults.RESETTING,
]


def told_by(call: Callable[[], object]) -> str:
    """The texts of the error that a call raises, if it does: some go well."""
    try:
        call()
    except AeroStorageError as error:
        return str(error) + repr(error) + "".join(traceback.format_exception(error))
    return ""


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
@pytest.mark.parametrize("call", CALLS)
def test_messages(
    monkeypatch: pytest.MonkeyPatch, make_origin: MakeOrigin, store: ObjectStore, call: str, fault: faults.Fault
) -> None:
    """Neither the message of an error nor its traceback has a secret, though the client's own texts have them."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    store.bucket().put("a", b"12345")
    store.faults.add(fault, times=math.inf)
    told = told_by(lambda: CALLS[call](make_origin()))
    assert [secret for secret in SECRETS if secret in told] == []


def test_the_tests_have_secrets(make_origin: MakeOrigin, store: ObjectStore) -> None:
    """The requests above carry what must not be told."""
    store.bucket().put("a", b"1")
    make_origin().head("a")
    assert KEY_ID in store.requests[-1].headers["authorization"]


def test_reprs(monkeypatch: pytest.MonkeyPatch, make_origin: MakeOrigin, store: ObjectStore) -> None:
    """No text of an origin or of what it holds has a secret."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    store.bucket().put("a", b"zqsecret")
    origin = make_origin()
    texts = [repr(origin), repr(origin.client), origin.name, origin.identity, repr(origin.head("a"))]
    texts.append(repr(origin.client.get_whole("a", 100, 1.0)))
    assert [secret for secret in SECRETS for text in texts if secret in text] == []


def test_signed_urls() -> None:
    """A URL in a text of the client, which may be signed, is left out."""
    url = "https://x.blob.core.windows.net/c/a?sv=1&sig=zqsecret&Signature=zqsecret"
    text = f"Generic error: Error performing GET {url} in 3ms - Server returned non-2xx status code: 403 Forbidden: "
    assert str(failure_of(RuntimeError(f"{text}<Code>AuthenticationFailed</Code>"))) == "403 AuthenticationFailed"
    assert str(failure_of(RuntimeError(f"uri: Some({url})"))) == "no right answer"


@pytest.mark.parametrize(
    ("scheme", "environ"),
    [
        ("s3", {"AWS_ENDPOINT_URL": "https://user:zqsecret@host", "AWS_ACCESS_KEY_ID": KEY_ID}),
        ("s3", {"AWS_ENDPOINT_URL": "https://host/?zqsecret", "AWS_ACCESS_KEY_ID": KEY_ID}),
        ("s3", {"AWS_ENDPOINT_URL": "zqsecret", "AWS_ACCESS_KEY_ID": KEY_ID}),
        ("s3", {"AWS_ACCESS_KEY_ID": KEY_ID}),
        ("s3", {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SKIP_SIGNATURE": "zqsecret"}),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"zqsecret'}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_ACCOUNT_KEY": "zqsecret!"}),
        ("az", {"AZURE_STORAGE_ACCOUNT_KEY": "zqsecret!"}),
    ],
)
def test_variables(monkeypatch: pytest.MonkeyPatch, scheme: str, environ: dict[str, str]) -> None:
    """Variables that cannot be used are told of in one line, without what is in them."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        open_origin(parse_origin_url(f"{scheme}://bucket"), environ, 20.0)
    told = str(caught.value) + "".join(traceback.format_exception(caught.value))
    assert [secret for secret in SECRETS if secret in told] == []
    assert str(caught.value).isprintable()


def test_the_client_is_in_one_module() -> None:
    """One module sees the client's errors, and none of those beside it passes on the text of another's error."""
    sources = Path(__file__).parents[3] / "src" / "aero_storage" / "storage" / "objects"
    seen = [path.name for path in sources.rglob("*.py") if "import obstore" in path.read_text(encoding="utf-8")]
    assert seen == ["store_client.py"]
