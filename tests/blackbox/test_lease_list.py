"""http.md §12: the list shows public images, and private ones to holders of leases; it is never a 401 or 403."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.blackbox.image_roots import VERSION
from tests.blackbox.leased_root import REVOKED, lease, leased, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon

LIST = "/v1/images"


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    with leased(home("lease-list"), "--lease-failures-per-sec", "0") as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ids(daemon: Daemon, query: str = "", **fields: str) -> tuple[list[str], int | None]:
    """Return the ids of a list, and how long it says that a lease is good."""
    reply = daemon.ask(LIST + query, fields=fields)
    assert reply.status == 200
    remaining = reply.get("Aero-Lease-Remaining")
    return [image["id"] for image in reply.json()], None if remaining is None else int(remaining)


def test_nothing_presented(daemon: Daemon) -> None:
    """Without a lease it shows the public images alone, and nothing is counted."""
    before = daemon.metrics()
    assert ids(daemon) == (["open"], None)
    after = daemon.metrics()
    for labels in before.labels("aero_storage_leases_total"):
        assert after.value("aero_storage_leases_total", **labels) == before.value(
            "aero_storage_leases_total", **labels
        )


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        ("secret", ["open", "secret"]),
        ("first", ["first", "open"]),
        (["sliced", "first", "secret"], ["first", "open", "secret", "sliced"]),
        (["gone", "nosuch"], ["open"]),
        (["open"], ["open"]),
        (["other", "secret"], ["open", "secret"]),  # revoked for the one
    ],
)
def test_images_of_a_lease(daemon: Daemon, images: object, shown: list[str]) -> None:
    """It shows the images of a lease that exist, in the order of the catalog."""
    found, remaining = ids(daemon, Authorization=f"Bearer {lease(images)}")
    assert found == shown
    assert (remaining is not None) is (shown != ["open"])


def test_several_leases(daemon: Daemon) -> None:
    """It shows the images of all leases that are presented, and the least time of those that it used."""
    long, short = lease("secret", exp=now() + 6000), lease("first", exp=now() + 300)
    found, remaining = ids(daemon, f"?lease={short}", Authorization=f"Bearer {long}")
    assert found == ["first", "open", "secret"]
    assert 200 < (remaining or 0) <= 300
    unused = lease("nosuch", exp=now() + 100)
    _, remaining = ids(daemon, f"?lease={unused}", Authorization=f"Bearer {long}")
    assert 5900 < (remaining or 0) <= 6000


def test_one_version(daemon: Daemon) -> None:
    """A lease for one version shows the image while it has that version."""
    assert ids(daemon, Authorization=f"Bearer {lease(ver=VERSION)}")[0] == ["open", "secret"]
    assert ids(daemon, Authorization=f"Bearer {lease(ver='v-0')}") == (["open"], None)


@pytest.mark.parametrize(
    ("word", "make"),
    [
        ("malformed", lambda: "junk"),
        ("bad_signature", lambda: lease()[:-4] + "AAAA"),
        ("revoked", lambda: lease(jti=REVOKED)),
        ("expired", lambda: lease(iat=now() - 100, exp=now() - 40)),
        ("wrong_scope", lambda: lease(scope="")),
        ("ok", lambda: lease("nosuch")),
    ],
)
def test_what_is_not_good(daemon: Daemon, word: str, make: Callable[[], str]) -> None:
    """A token that is not good counts as nothing there, and is counted under its word."""
    before = daemon.metrics()
    assert ids(daemon, Authorization=f"Bearer {make()}") == (["open"], None)
    daemon.rises(before, 1, "aero_storage_leases_total", result=word)


def test_tags(daemon: Daemon) -> None:
    """Lists that show different images have different tags; each validates, and tells the time that is left."""
    plain, leased_one = daemon.ask(LIST), daemon.ask(LIST, fields=bearer(lease()))
    assert plain["ETag"] != leased_one["ETag"]
    again = daemon.ask(LIST, fields=bearer(lease()) | {"If-None-Match": leased_one["ETag"] or ""})
    assert (again.status, again.get("Aero-Lease-Remaining") is None) == (304, False)
    assert daemon.ask(LIST, fields={"If-None-Match": leased_one["ETag"] or ""}).status == 200


def test_head(daemon: Daemon) -> None:
    """HEAD has the length of GET."""
    token = bearer(lease())
    assert daemon.ask(LIST, "HEAD", token)["Content-Length"] == daemon.ask(LIST, "GET", token)["Content-Length"]


def test_entries(daemon: Daemon) -> None:
    """A private image is described as its own metadata describe it."""
    token = bearer(lease())
    (entry,) = (one for one in daemon.ask(LIST, fields=token).json() if one["id"] == "secret")
    assert entry == daemon.ask("/v1/images/secret/meta", fields=token).json()


def test_log(daemon: Daemon) -> None:
    """The line of a list that a lease opened names it, and its user."""
    _, line = daemon.traced(LIST, fields=bearer(lease(jti="of-a-list", sub="ada")))
    assert (line["lease"], line["user_id"]) == ("of-a-list", "ada")
