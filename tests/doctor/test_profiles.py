"""The boot profile as the doctor sees it: there, of this image and of its version, and linked to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from tests.doctor.fault_cases import everywhere, on_path, page, put
from tests.doctor.faulty_proxy import NO_FAULT, Answer, FaultyProxy, ProxyFault, Request

from aero_storage.catalog.model import Image
from aero_storage.delivery.boot_profiles import profile_key
from aero_storage.doctor.result import Result, Severity
from aero_storage.doctor.runner import DoctorReport
from aero_storage.profiles.document import BOOT, BootProfile
from aero_storage.profiles.ranges import ProfileRange
from aero_storage.storage.local.file_status import file_status

UNIT = 65536


@pytest.fixture
def examine(proxy: FaultyProxy, examine_proxy: Callable[..., DoctorReport], tmp_path: Path) -> Callable[..., Result]:
    """Give a function that looks at a daemon whose image has a boot profile, behind a proxy with this fault."""
    status = (tmp_path / "images" / "disk.img").stat()
    key = profile_key(Image("disk.img", "disk.img", "Disk"), file_status(status.st_size, status.st_mtime_ns), BOOT)
    assert key is not None
    version = key.version
    ranges = (ProfileRange(0, 1, 0, 100),)
    profile = BootProfile("disk.img", version, "boot", UNIT, 3, "2026-11-28T12:00:00Z", 30, UNIT, ranges)
    place = tmp_path / "images" / "profiles" / "disk.img" / version
    place.mkdir(parents=True)
    (place / "boot.json").write_bytes(profile.to_json())

    def look(fault: ProxyFault = NO_FAULT) -> Result:
        proxy.fault = fault
        (found,) = [one.result for one in examine_proxy(proxy).results if one.check == "profile"]
        return found

    return look


def test_a_profile_that_is_as_it_has_to_be(examine: Callable[..., Result]) -> None:
    """Its age and its evidence are told."""
    found = examine()
    assert found.severity is Severity.PASS
    assert found.seen == "1 ranges, learned 2026-11-28T12:00:00Z from 3 sessions; Link"


def of_another_version(request: Request, answer: Answer) -> Answer:
    """Answer as a cache that kept the profile of the image before."""
    is_profile = request.target.endswith("/profile")
    return answer.filled(re.sub(rb'"version":"[^"]*"', b'"version":"v-old"', answer.body)) if is_profile else answer


@pytest.mark.parametrize(
    ("change", "severity", "seen"),
    [
        (of_another_version, Severity.WARNING, "in its version v-old, but the image has"),
        (on_path("/profile", page()), Severity.WARNING, "no boot profile of this image: not JSON"),
        (on_path("/profile", page(404)), Severity.WARNING, "status 404, but Link: </v1/images/disk.img/profile>"),
        (on_path("/profile", page(500)), Severity.FAILURE, "status 500"),
        (everywhere(put(Link=None)), Severity.WARNING, "no Link to the profile that is there"),
    ],
)
def test_faults_of_a_proxy(
    examine: Callable[..., Result], change: Callable[[Request, Answer], Answer], severity: Severity, seen: str
) -> None:
    """What keeps clients from the profile, or gives them another one, is told."""
    found = examine(ProxyFault(after=change))
    assert (found.severity, bool(found.means), bool(found.remedy)) == (severity, True, True)
    assert seen in found.seen


def test_an_image_without_a_profile(examine: Callable[..., Result]) -> None:
    """That is no fault; the command that makes one is told."""
    gone = on_path("/profile", page(404))
    found = examine(ProxyFault(after=lambda request, answer: gone(request, attrs.evolve(answer).put(Link=None))))
    assert found.severity is Severity.SKIPPED
    assert "aero-storage profile learn makes one" in found.seen
