"""The prose of the sources: docstrings and comments are sentences with a subject, and say something."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "aero_storage"

_CLAUSE = re.compile(r"(?:\A|(?<=[.:;!?] ))(?:who|whoever|whose|what|whatever)\b", re.IGNORECASE)
_SEE = re.compile(r"See [\w.`]+\.?")


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring, of strings that document a name, and of every comment."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    yield from comments(source)


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment; lines of comment below each other are one."""
    first, last, text = 0, (0, 0), ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            if last != (line - 1, column):
                yield first, text
                first, text = line, ""
            last, text = (line, column), f"{text} {token.string.lstrip('# ')}"
    yield first, text


def faults_of(source: str) -> Iterator[str]:
    """Yield the lines with a clause for a subject, or with nothing but a reference."""
    for line, text in texts(source):
        for paragraph in re.split(r"\n\s*\n", text):
            prose = " ".join(paragraph.split())
            if _CLAUSE.search(prose):
                yield f"{line}: a sentence begins with a clause (who, what): {prose}"
            if _SEE.fullmatch(prose):
                yield f"{line}: @override says it: {prose}"


def modules() -> list[str]:
    """List our modules, relative to the package."""
    paths = (path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    return sorted(paths)


def test_modules_are_read() -> None:
    """The check below reads every package of ours."""
    assert {"__init__.py", "disk.py", "http/ranges.py", "service/listening/endpoints.py"} <= set(modules())


@pytest.mark.parametrize("module", modules())
def test_sentences_have_subjects(module: str) -> None:
    """No sentence in the sources begins with who or what, and no docstring is a mere reference."""
    assert list(faults_of((PACKAGE / module).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""What has been counted."""',
        '"""Counts. Whoever waits is told."""',
        '"""The line of one reactor.\n\n    Whatever is sent goes out in order.\n    """',
        'x = 1\n"""The value: what is left."""',
        "x = 1  # who reads there sees the end",
        "# Two lines.\n# What is more, the second begins so.",
        'def f():\n    """See Store.open."""',
        'def f():\n    """See `IProducer`"""',
    ],
)
def test_finds(source: str) -> None:
    """A clause as the subject, and a mere reference, are found wherever prose can stand."""
    assert len(list(faults_of(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""Counts by label values, whatever they are."""',
        '"""The fields\n    what they mean."""',
        '"""Whole numbers. See RFC 9110 §5.3 for the rule."""',
        "x = 'What is read'",
        "# The second line of a comment tells\n# what the first began to say.",
        "def f():\n    whose = 1",
    ],
)
def test_accepts(source: str) -> None:
    """Such a word within a sentence, in code, or in another word is no fault."""
    assert list(faults_of(source)) == []
