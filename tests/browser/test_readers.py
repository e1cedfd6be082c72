"""Readers of zip, Parquet, GeoTIFF and SQLite files that nobody here wrote, directly and through the client."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.blackbox.harness import running
from tests.clients.chromium import IMAGES_HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.driven import Driven

HERE = Path(__file__).parent


def test_readers(run_node: Callable[..., str], tools: Path, tmp_path: Path) -> None:
    """zip.js, hyparquet and geotiff read files of the daemon by their own requests, and through `asyncBuffer`."""
    images = tmp_path / "images"
    images.mkdir()
    run_node(HERE / "reader-files.mjs", tools, images)
    with running(tmp_path) as daemon:
        facts = {"modules": str(tools), "base": f"http://127.0.0.1:{daemon.port}/v1/images"}
        assert "# pass 3" in run_node("--test", HERE / "readers.test.mjs", READERS=json.dumps(facts))


def make_database(path: Path) -> int:
    """A table with an index; give the bytes of the file."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("pragma page_size = 4096")
        database.execute("create table parts (id integer primary key, name text, weight integer)")
        rows = ((number, f"part {number}", number * 7919 % 1000) for number in range(100_000))
        database.executemany("insert into parts values (?, ?, ?)", rows)
        database.execute("create index by_name on parts (name)")
    return path.stat().st_size


def test_sqlite(driven: Driven, tools: Path, lacking: Callable[[str], NoReturn], tmp_path: Path) -> None:
    """sql.js-httpvfs finds rows by an index with a few ranges; it takes no buffer, as it reads without waiting."""
    if not (tools / "node_modules" / "sql.js-httpvfs").is_dir():
        lacking("sql.js-httpvfs is not installed (make browser-tools)")
    (tmp_path / "images").mkdir()
    size = make_database(tmp_path / "images" / "parts.sqlite")
    with running(tmp_path) as daemon:
        page = driven.page("sqlite")
        address = f"http://{IMAGES_HOST}:{daemon.port}/v1/images/parts.sqlite"
        config = {"serverMode": "full", "requestChunkSize": 4096, "url": address}
        found = page.ask(f"""
            await new Promise((onload, onerror) => {{
              document.head.append(Object.assign(document.createElement("script"), {{
                src: "/modules/sql.js-httpvfs/dist/index.js", onload, onerror,
              }}));
            }});
            const reader = await createDbWorker(
              [{{ from: "inline", config: {json.dumps(config)} }}],
              "/modules/sql.js-httpvfs/dist/sqlite.worker.js",
              "/modules/sql.js-httpvfs/dist/sql-wasm.wasm",
            );
            const rows = [];
            for (const number of [5, 77_777, 99_999]) {{
              rows.push(...await reader.db.query("select * from parts where name = ?", [`part ${{number}}`]));
            }}
            [rows, await reader.worker.bytesRead]
        """)
        page.tab.close()
    rows, count = found
    assert rows == [{"id": n, "name": f"part {n}", "weight": n * 7919 % 1000} for n in (5, 77_777, 99_999)]
    assert 0 < count < size / 10
