"""Lines of the request log by forms that all records share: they say what a form of the record itself would say."""

from __future__ import annotations

import io

import attrs
import pytest
from tests.delivery.conftest import Ask, Bench

from aero_storage.delivery.access_record import AccessRecord, Reporter
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.reply import Refused, Reply
from aero_storage.errors import RefusalReason
from aero_storage.http.ranges import Segment
from aero_storage.logs.json_lines import quote
from aero_storage.logs.json_log import JsonLines

REPLIES = {
    "a range": Reply(206, segment=Segment(5, 10), version="v-1"),
    "the whole": Reply(200, segment=Segment(0, 10), version="v-1"),
    "no version": Reply(200),
    "not found": Reply(404, refused=Refused(RefusalReason.EXISTENCE)),
    "a long range": Reply(413, refused=Refused(RefusalReason.RANGE_TOO_LONG, 4096)),
    "nothing": None,
}
ASKED = {
    "an image": ("/v1/images/disk.img", {}),
    "a user": ("/v1/images/disk.img", {"X-Aero-User-Id": 'a"%s\\%'}),
    "an id with escapes": ("/v1/images/%64isk", {}),
    "an invalid id": ("/v1/images/%2e%2e", {}),
    "no route": ('/no"%s%20where', {}),
}


def lines_of(bench: Bench, facts: Facts, reply: Reply | None, *, is_kept: bool) -> list[str]:
    """Write two lines; return them without their time stamps."""
    sink = io.StringIO()
    reporter = Reporter(bench.clock, bench.reporter.disk, bench.reporter.metrics, JsonLines(sink, "info"))
    record = AccessRecord(facts, reporter, is_kept)
    for name in ("one", 't"w%so'):
        record.write(reply, None, quote(name), "206", '"complete"', "10", "0.000001", quote(None))
    return [line.partition(", ")[2] for line in sink.getvalue().splitlines()]


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_lines_are_the_same(ask: Ask, bench: Bench, asked: tuple[str, dict[str, str]], reply: Reply | None) -> None:
    """Whether a record is kept makes no difference to its lines."""
    path, headers = asked
    facts = ask(path, headers)
    lines = lines_of(bench, facts, reply, is_kept=False)
    assert len(lines) == 2
    assert lines == lines_of(bench, facts, reply, is_kept=True)


def test_texts_from_clients_make_no_forms(ask: Ask, bench: Bench) -> None:
    """The number of forms does not grow with the paths, users and ids that clients send."""
    reporter = bench.reporter
    shared = reporter.shared_forms
    assert shared is not None
    for number in range(100):
        facts = ask(f"/v1/images/disk-{number}", {"X-Aero-User-Id": f"user-{number}"})
        AccessRecord(facts, reporter).write(
            Reply(404), None, quote(str(number)), "404", '"complete"', "0", "0.000001", quote("192.0.2.1")
        )
    lines = [fields for _, _, fields in bench.log.events]
    assert [line["image_id"] for line in lines] == [f"disk-{number}" for number in range(100)]
    assert len(attrs.astuple(shared, recurse=False)[1]) == 1
