"""Changing the catalog: what was there stays, what cannot be good is never written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.draft import Draft
from aero_storage.catalog.reader import load_manifest
from aero_storage.catalog.writer import editing
from aero_storage.errors import CatalogError

FIRST: dict[str, Any] = {"x-mine": [1, {"é": None}], "id": "a", "file": "a.img", "name": "A"}
SECOND: dict[str, Any] = {"id": "b", "name": "B", "file": "b.img", "public": False}


def write(root: Path, document: object, **style: Any) -> None:
    (root / "manifest.json").write_text(json.dumps(document, **style))


def read(root: Path) -> Any:
    return json.loads((root / "manifest.json").read_bytes())


@pytest.mark.parametrize("wrap", [lambda entries: {"v": 7, "images": entries, "z": 1.5}, lambda entries: entries])
@pytest.mark.parametrize("indent", [None, 2, 4, "\t"])
def test_what_is_unknown_stays(tmp_path: Path, wrap: Any, indent: Any) -> None:
    """Keys that we do not know, the order of keys and entries and the file's indentation are kept."""
    write(tmp_path, wrap([FIRST, SECOND]), indent=indent)
    with editing(tmp_path, listing=True) as draft:
        entry = draft.find("a")
        assert entry is not None
        entry["chunked_version"] = "v1"
    expected = wrap([FIRST | {"chunked_version": "v1"}, SECOND])
    separators = (",", ":") if indent is None else None
    text = json.dumps(expected, ensure_ascii=False, indent=indent, separators=separators) + "\n"
    assert (tmp_path / "manifest.json").read_text() == text


def test_put_and_remove(tmp_path: Path) -> None:
    """An entry of a new id goes to the end, one of a known id into its place; a removed one is gone."""
    write(tmp_path, [FIRST, SECOND])
    with editing(tmp_path, listing=True) as draft:
        draft.put({"id": "c", "file": "c", "name": "C"})
        draft.put({"id": "a", "file": "new", "name": "A"})
        draft.remove("b")
        assert draft.find("b") is None
    assert [(entry["id"], entry["file"]) for entry in read(tmp_path)] == [("a", "new"), ("c", "c")]


@pytest.mark.parametrize(("listing", "ids"), [(True, ["new", "a.img", "b.img"]), (False, ["new"])])
def test_first_entry(tmp_path: Path, listing: bool, ids: list[str]) -> None:  # noqa: FBT001
    """A new catalog lists what the directory listing served, if it did, so that none of it disappears."""
    for name in ("b.img", "a.img", ".hidden", "bad name"):
        (tmp_path / name).write_bytes(b"x")
    with editing(tmp_path, listing=listing) as draft:
        draft.put({"id": "new", "file": "a.img", "name": "New"})
    assert sorted(image.id for image in load_manifest(DirectoryDocuments(tmp_path))[0].images) == sorted(ids)
    assert draft.listed == (("a.img", "b.img") if listing else ())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[1]", b'{"images": 5}', b"\xff"])
def test_broken_catalog(tmp_path: Path, content: bytes) -> None:
    """A catalog that is invalid is not touched: the error is the daemon's own, with the file's name."""
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CatalogError, match=r"manifest\.json: "), editing(tmp_path, listing=True):
        pytest.fail("there is nothing to edit")
    assert (tmp_path / "manifest.json").read_bytes() == content


@pytest.mark.parametrize(
    "change", [{"id": "a/b"}, {"file": "../x"}, {"etag": "bare"}, {"id": "b"}, {"n": float("inf")}]
)
def test_never_writes_an_invalid_catalog(tmp_path: Path, change: dict[str, object]) -> None:
    """A change that would make the catalog invalid is an error, and the old file stays, alone."""
    write(tmp_path, [FIRST, SECOND])
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(CatalogError), editing(tmp_path, listing=True) as draft:
        draft.entries[0].update(change)
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", ".aero-storage.lock"}


def test_last_entry_stays(tmp_path: Path) -> None:
    """A catalog is never emptied."""
    write(tmp_path, [FIRST])
    with pytest.raises(CatalogError, match="at least one image"), editing(tmp_path, listing=True) as draft:
        draft.remove("a")
    assert read(tmp_path) == [FIRST]


def test_an_exception_changes_nothing(tmp_path: Path) -> None:
    """What is raised while editing leaves the file alone."""
    write(tmp_path, [FIRST])

    def interrupted() -> None:
        with editing(tmp_path, listing=True) as draft:
            draft.entries.clear()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read(tmp_path) == [FIRST]


def test_nothing_to_do(tmp_path: Path) -> None:
    """Without a change the file is not written again."""
    write(tmp_path, [FIRST])
    before = (tmp_path / "manifest.json").stat()
    with editing(tmp_path, listing=True):
        pass
    after = (tmp_path / "manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_mode_and_links_stay(tmp_path: Path) -> None:
    """The new file has the old one's mode, and a manifest that is a link stays one."""
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "catalog.json"
    real.write_text(json.dumps([FIRST]))
    real.chmod(0o640)
    (tmp_path / "manifest.json").symlink_to("real/catalog.json")
    with editing(tmp_path, listing=True) as draft:
        draft.put(dict(SECOND))
    assert (tmp_path / "manifest.json").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert len(json.loads(real.read_bytes())) == 2


ADD = """
import sys
from pathlib import Path
from aero_storage.catalog.writer import editing

for number in range(10):
    with editing(Path(sys.argv[1]), listing=True) as draft:
        draft.put({"id": f"image-{sys.argv[2]}-{number}", "file": "x", "name": "X"})
"""


def test_editors_wait_for_each_other(tmp_path: Path) -> None:
    """What several processes add at the same time is all there."""
    write(tmp_path, [FIRST])
    editors = [subprocess.Popen([sys.executable, "-c", ADD, str(tmp_path), name]) for name in ("a", "b")]
    assert [editor.wait(60) for editor in editors] == [0, 0]
    assert len(read(tmp_path)) == 21


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
        max_leaves=10,
    )
)
def test_any_json_survives(value: object) -> None:
    """Whatever stands under an unknown key comes out as it went in."""
    entry = FIRST | {"unknown": value}
    assert json.loads(Draft([entry]).to_bytes())["images"] == [entry]
