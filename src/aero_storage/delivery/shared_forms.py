"""Forms of the request log that all records share: texts from clients are filled in, and are no part of them.

A record that is kept for further requests has forms of its own, in which more is fixed. To make such a form takes ten
times as long as to fill in one of these.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.reply import Refused
from aero_storage.logs.json_lines import quote_text
from aero_storage.logs.json_log import EventLog, Form, make_form

MESSAGE = "request complete"
USUAL = ("request_id", "status", "outcome", "bytes_sent", "latency_seconds", "client")
"""The fields that vary in every line, in the order of a record's blanks."""

_Shape = tuple[str | bool | Refused | None, ...]


def fields_of(facts: Facts) -> dict[str, object]:
    """Return the fields of a line about a request with these facts, in order; None where only its end tells."""
    fields: dict[str, object] = {
        "request_id": None,
        "method": facts.method_label,
        "path": facts.logged_path,
        "route": facts.route_label,
        "status": None,
        "outcome": None,
        "bytes_sent": None,
        "latency_seconds": None,
        "client": None,
    }
    optional = {"image_id": facts.names.image_id, "user_id": facts.user_id}
    return fields | {name: value for name, value in optional.items() if value is not None}


def fields_of_refusal(refused: Refused | None) -> dict[str, object]:
    """Return the fields that say why a request was refused."""
    if refused is None:
        return {}
    fields: dict[str, object] = {"reason": str(refused.reason)}
    return fields if refused.max_range_bytes is None else fields | {"max_range_bytes": refused.max_range_bytes}


@attrs.define(eq=False)
class SharedForms:
    """The forms of one log. There is one for each shape of a line: routes, methods and reasons are few."""

    _log: EventLog
    _forms: dict[_Shape, Form] = attrs.field(init=False, factory=dict)

    def write(  # noqa: PLR0913, PLR0917 - what there is to say
        self,
        facts: Facts,
        route: str,
        method: str,
        blanks: tuple[str, ...],
        known: dict[str, str],
        refused: Refused | None,
    ) -> None:
        """Write a line of a request with these labels.

        `blanks` are those of USUAL, `known` what the line has beside, both as JSON.
        """
        image_id, user_id = facts.names.image_id, facts.user_id
        shape = (route, method, image_id is None, user_id is None, refused, *known)
        form = self._forms.get(shape)
        if form is None:
            form = self._forms[shape] = self._make(facts, known, refused)
        named = () if image_id is None else (quote_text(image_id),)
        if user_id is not None:
            named = (*named, quote_text(user_id))
        form(blanks[0], quote_text(facts.logged_path), *blanks[1:], *named, *known.values())

    def _make(self, facts: Facts, known: Iterable[str], refused: Refused | None) -> Form:
        why = fields_of_refusal(refused)
        fields = fields_of(facts) | dict.fromkeys(known) | why
        blanks = {name: "%s" for name in fields if name not in {"method", "route", *why}}
        return make_form(self._log, "info", MESSAGE, fields, blanks)
