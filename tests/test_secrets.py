"""A token, a cookie or an `Authorization` value never reaches the log: who may touch them, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.secret_flow import introspections, logged_secrets, logging_calls, secret_names, uncalled_loggers
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Site

from aero_storage.delivery.facts import Facts, LeaseQuestion
from aero_storage.delivery.handler import RequestHandler
from aero_storage.http.head_reader import HeadReader
from aero_storage.http.leases.carriers import Presented
from aero_storage.http.leases.jwk import Jwk
from aero_storage.http.leases.remembered import RememberedLeases
from aero_storage.http.leases.signatures import Ed25519SigningKey, HmacKey
from aero_storage.http.leases.tokens import Jws
from aero_storage.http.request_head import RequestHead
from aero_storage.service.listening.tls_material import TLSMaterial
from aero_storage.settings import Settings
from aero_storage.web.request import AeroRequest, RequestChannel
from aero_storage.web.response_plans import ResponsePlans
from aero_storage.workers.control_protocol import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCES = Path(__file__).parents[1] / "src" / "aero_storage"
LEASE_MODULES = ("carriers", "judgement", "tokens", "verification")
"""Those that a token passes through: they take it apart, verify it, and say its digits."""
TOUCHED_BY = {
    ("cli/commands/lease_issue.py", "token"),  # prints it, as it is asked to
    ("cli/commands/lease_issue.py", "cookie"),  # the same, as a cookie
    ("cli/sources/http_requests.py", "proxy-authorization"),  # sends it to the proxy that the environment names
    ("delivery/facts.py", "authorization"),  # reads it from the head
    ("delivery/facts.py", "cookie"),  # asks whether there is one
    ("delivery/operations.py", "authorization"),  # compares it
    ("service/composition.py", "metrics_auth_token"),  # hands it to what compares
    ("service/package_files.py", "metrics_auth_token"),  # asks whether there is one
    ("delivery/handler.py", "metrics_token"),  # keeps it for that
    ("delivery/operations.py", "token"),
    ("settings/table.py", "metrics_auth_token"),
    ("delivery/access.py", "authorization"),  # hands it to what finds a token in it
    ("delivery/access.py", "token"),  # hands it to what verifies it
    ("delivery/token_verification.py", "token"),  # keeps it until its turn
    ("delivery/lease_cookie.py", "token"),  # writes it into the cookie that is asked for
    ("delivery/lease_route.py", "cookie"),  # the name of a parameter
    ("http/general_head.py", "authorization"),  # counts such fields
    ("http/general_head.py", "cookie"),  # joins such fields
    ("http/leases/carriers.py", "authorization"),  # finds a token in it
    ("http/leases/carriers.py", "cookie"),  # the name of a carrier
    *((f"http/leases/{module}.py", "token") for module in (*LEASE_MODULES, "issuing", "remembered")),
    ("doctor/checks/caching.py", "authorization"),  # looks for their names in `Vary`
    ("doctor/checks/caching.py", "cookie"),
    ("doctor/checks/lease_answers.py", "authorization"),  # the same, and in a preflight
    ("doctor/checks/lease_answers.py", "cookie"),
    ("cli/commands/top.py", "metrics_auth_token"),  # sends it to the daemon that it looks at
    ("cli/commands/top.py", "token"),
    ("cli/commands/top.py", "authorization"),
    ("cli/commands/doctor.py", "token"),  # reads it from a file
    ("cli/commands/doctor.py", "authorization"),  # refuses a second one
    ("doctor/lease.py", "token"),  # takes it out of answers
    *(("doctor/request.py", name) for name in ("token", "authorization", "cookie")),  # sends it
}
"""All the places where a secret has a name. A new one is to be looked at before it is added."""
HANDED_ON = {
    ("service/composition.py", "metrics_auth_token"): {"RequestHandler"},
    ("delivery/handler.py", "metrics_token"): {"refusal"},
    ("delivery/operations.py", "token"): {"encode"},
}
"""To whom modules may hand them on, that do no more than that with them."""
HARMLESS = {
    ("settings/sources.py", "line"),  # the number of a line
    ("settings/sources.py", "both"),  # where two tokens came from
    ("workers/worker_log.py", "fields"),  # what a worker printed past its log
    ("workers/worker_log.py", "text"),
}
"""What is said under a name that would be suspect elsewhere."""
QUIET = {
    *(
        f"http/leases/{module}.py"
        for module in (*LEASE_MODULES, "issuing", "remembered", "jwk", "key_set", "signatures")
    ),
    "delivery/access.py",
    "delivery/facts.py",
    "delivery/hearing.py",
    "delivery/lease_cookie.py",
    "delivery/operations.py",
    "delivery/token_verification.py",
    "doctor/lease.py",
    "doctor/request.py",
    "service/listening/tls_material.py",
    "settings/table.py",
}
"""Modules in which secrets are unwrapped: they log nothing whatever."""
LOGGERS = {
    "logs/json_log.py": {"ILogObserver", "LogEvent", "Logger", "LogLevel", "formatEvent"},
    "service/direct_reads.py": {"log"},
    "service/signals.py": {"ILogObserver"},
    "service/worker.py": {"globalLogBeginner"},
    "service/foreground.py": {"FilteringLogObserver", "LogLevel", "LogLevelFilterPredicate", "globalLogBeginner"},
}
"""Who knows Twisted's log, and what of it: all others are given a log."""
LOG_MODULES = {"log", "logger"}
OPERATOR = ("cli/", "doctor/")
"""Commands that tell the operator of requests of their own; the daemon's log never hears of them."""


def parsed() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(SOURCES.rglob("*.py")):
        yield path.relative_to(SOURCES).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def found(rule: Callable[[ast.AST], Iterator[tuple[int, str]]]) -> list[tuple[str, int, str]]:
    return [
        (module, line, name)
        for module, tree in parsed()
        for line, name in rule(tree)
        if not module.startswith(OPERATOR) and (module, name) not in HARMLESS
    ]


def test_who_touches_secrets() -> None:
    """Secrets have names in few places, each of them known."""
    assert {(module, name) for module, tree in parsed() for _, name in secret_names(tree)} == TOUCHED_BY


def test_secrets_are_handed_on_and_no_more() -> None:
    """Where a secret passes through, it is an argument of a known call, a field or a comparison, and nothing else."""
    for module, tree in parsed():
        called = {id(one): name_of_call(call) for call in ast.walk(tree) for one in arguments_of(call)}
        for node in ast.walk(tree):
            names = HANDED_ON.get((module, getattr(node, "attr", getattr(node, "id", ""))))
            if names is not None and isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                assert called.get(id(node)) in names, f"{module}:{node.lineno}"


def arguments_of(call: ast.AST) -> list[ast.expr]:
    return [*call.args, *(one.value for one in call.keywords)] if isinstance(call, ast.Call) else []


def name_of_call(call: ast.AST) -> str:
    return ast.unparse(call.func).rpartition(".")[2] if isinstance(call, ast.Call) else ""


def test_no_secret_is_said() -> None:
    """No call that logs, and no text of an exception, is given a secret or what a client sent unchecked."""
    assert found(logged_secrets) == []


def test_who_unwraps_secrets_is_quiet() -> None:
    """Where a secret goes by all kinds of names, nothing is logged."""
    assert [(module, *call) for module, tree in parsed() if module in QUIET for call in logging_calls(tree)] == []
    assert {module for module, _ in parsed()} >= QUIET


def test_who_knows_a_logger() -> None:
    """Logs are handed in: a module that made one of its own would log past every rule here."""
    known: dict[str, set[str]] = {}
    for module, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in {"twisted.logger", "twisted.python", "twisted"}:
                names = {one.name for one in node.names if node.module == "twisted.logger" or one.name in LOG_MODULES}
                known.setdefault(module, set()).update(names)
            elif isinstance(node, ast.Import):
                assert not {one.name for one in node.names} & {"twisted.logger", "twisted.python.log"}, module
    assert {module: names for module, names in known.items() if names} == LOGGERS


def test_nothing_is_laid_open() -> None:
    """Nothing shows all that an object or a frame holds: what a repr leaves out would be in it."""
    assert found(introspections) == []


def test_logging_has_its_name() -> None:
    """Methods that log are called under their own names, by which the rule above knows them."""
    assert found(uncalled_loggers) == []


@pytest.mark.parametrize(
    "text",
    [
        "self.log.event('info', 'x', {'a': facts.authorization})",
        "log.warn(f'{settings.metrics_auth_token}')",
        "self._complain(exchange, 'x', token=token)",
        "complaints.complain('x', cookie=1)",
        "self._complaint.happened({'given': facts.authorization})",
        "make_form(log, 'info', 'x', {'a': facts.authorization}, ())",
        "Logger().emit(LogLevel.info, '{t}', t=token)",
        "twisted_log.err(failure, token)",
        "print(facts.authorization)",
        "sys.stderr.write(token)",
        "raise ValueError(f'wrong token: {token}')",
        "self.break_off(f'after {facts.authorization}')",
        # under another name
        "scheme, _, given = (facts.authorization or '').partition(' ')\nlog.event('warn', f'wrong: {given}')",
        "one = token\ntwo = f'{one}'\nlog.event('warn', two)",
        "if (one := facts.authorization):\n    log.event('warn', one)",
        "fields = {}\nfields |= {'t': token}\nlog.event('warn', 'x', fields)",
        "self._last = data\nlog.event('warn', self._last)",
        "fields['t'] = token\nlog.event('warn', 'x', fields)",
        "key, wanted = split_range(data)\nlog.event('warn', f'{key}')",
        "for one in [token]:\n    log.event('warn', one)",
        "given = getattr(facts, 'authorization')\nlog.event('warn', given)",
        # as the client sent it
        "log.event('debug', 'x', {'a': header('Authorization')})",
        "given = header('Authorization')\nlog.event('debug', given)",
        "log.event('debug', 'x', {'a': request.requestHeaders.getRawHeaders(b'x')})",
        "lines = request.requestHeaders.getAllRawHeaders()\nself._log.debug('{h}', h=lines)",
        "self._complain(exchange, 'x', headers=request.read_headers())",
        "self._log.debug('{d}', d=data)",
        "self._log.debug('{d}', d=line[:80])",
        "log.event('info', 'x', {'target': self.uri})",
        "path = request.uri.decode('ascii')\nlog.event('info', path)",
        "log.event('info', 'x', {'who': request.getPassword()})",
        # whole objects
        "log.event('debug', f'{request}')",
        "log.event('debug', repr(settings))",
        "log.event('debug', 'x', {'facts': str(facts)})",
        # keys
        "log.event('debug', 'x', {'key': options.privateKey})",
        "log.event('debug', 'x', {'key': key.private_bytes(pem)})",
        "async def f():\n    def g(token):\n        log.event('debug', token)",
    ],
)
def test_the_rule_bites(text: str) -> None:
    """Each way to say a secret is found."""
    assert list(logged_secrets(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "log.event('info', 'x', {'id': request.exchange.request_id, 'path': facts.logged_path})",
        "e = Exchange(facts, peer, request_id_of(header('X-Request-Id')))\nlog.event('info', e.request_id)",
        "raise ShortReadError(f'{len(data)} bytes')",
        "wrong = token != given\nlog.event('info', 'x', {'wrong': wrong})",
        "return error(facts, policy, 403)",
        "self._held = data\nlog.event('warn', self._reason)",
    ],
)
def test_the_rule_allows(text: str) -> None:
    """What is checked, counted or compared may be logged."""
    assert not list(logged_secrets(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "log.event('debug', 'x', attrs.asdict(settings))",
        "log.event('debug', 'x', vars(facts))",
        "log.event('debug', 'x', facts.__dict__)",
        "log.event('debug', 'x', {'locals': locals()})",
        "log.event('error', failure.getDetailedTraceback())",
        "TracebackException.from_exception(error, capture_locals=True)",
        "import logging",
        "from logging import getLogger",
    ],
)
def test_what_lays_open_is_found(text: str) -> None:
    """Each way past what a repr leaves out, and past our log, is found."""
    assert list(introspections(ast.parse(text)))


@pytest.mark.parametrize("name", ["event", "emit", "happened", "warn", "debug", "_complain"])
def test_names_for_logging_are_found(name: str) -> None:
    """A method that logs is found where it is given a name."""
    assert list(uncalled_loggers(ast.parse(f"say = self._log.{name}\nsay('info', facts.authorization)")))


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (Settings, "metrics_auth_token"),
        (Facts, "authorization"),
        (Facts, "query"),
        (Facts, "cookies"),
        (LeaseQuestion, "original_uri"),
        (LeaseQuestion, "forwarded_uri"),
        (RequestHandler, "metrics_token"),
        (RequestHead, "headers"),
        (RequestHead, "target"),
        (RequestHead, "query"),
        (HeadReader, "_data"),
        (Presented, "token"),
        (Jws, "signed"),
        (Jws, "payload"),
        (Jws, "signature"),
        (Jwk, "secret"),
        (HmacKey, "secret"),
        (Ed25519SigningKey, "private"),
        (RememberedLeases, "_young"),  # the keys are tokens
        (RememberedLeases, "_old"),
        (ResponsePlans, "_plans"),  # the keys are heads
        (TLSMaterial, "key"),
        (Message, "payload"),
    ],
)
def test_repr(holder: type, name: str) -> None:
    """What holds a secret does not show it, wherever its text may go."""
    (field,) = (field for field in holder.__attrs_attrs__ if field.name == name)  # type: ignore[attr-defined]
    assert field.repr is False


def test_repr_of_facts() -> None:
    """That holds for the text itself."""
    assert "zqsecret" not in repr(Facts("GET", "/metrics", authorization="Bearer zqsecret"))


class StubClient:
    """What a request needs of its connection at first."""

    site = Site(Resource())
    is_secure = False

    def __init__(self) -> None:
        self.transport = StringTransport()


def test_repr_of_a_request() -> None:
    """The text of a request has its path, but not its query."""
    reader = HeadReader()
    reader.receive(b"GET /metrics?token=zqsecret HTTP/1.1\r\nHost: a\r\n\r\n")
    head = reader.next()
    assert isinstance(head, RequestHead)
    request = AeroRequest(RequestChannel(StubClient()), head, b"")  # type: ignore[arg-type]
    for text in (repr(request), repr(head), repr(reader)):
        assert "zqsecret" not in text
    assert "AeroRequest" in repr(request)
    assert "/metrics" in repr(request)
