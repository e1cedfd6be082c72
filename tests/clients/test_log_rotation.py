"""The real logrotate keeps the daemon's log as docs/how-to/who-read-what.md says."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.clients.nginx_proxy import PATIENCE, until
from tests.docs.pages import PROJECT, blocks

TWISTD = Path(sys.executable).with_name("twistd")
LOG = "/var/log/aero-storage.log"


def has(log: Path, request_id: str) -> bool:
    return f'"{request_id}"' in log.read_text(encoding="utf-8")


def test_copied_and_emptied(
    require_tool: Callable[..., str], run_tool: Callable[..., str], demo_image: Path, tmp_path: Path
) -> None:
    """Lines go into the old file or the new one, whole, and the new one begins with a line."""
    logrotate = require_tool("logrotate", package="logrotate")
    (config,) = [
        block for block in blocks(PROJECT / "docs/how-to/who-read-what.md", "text") if "copytruncate" in block
    ]
    log = tmp_path / "aero-storage.log"
    (tmp_path / "rules").write_text(config.replace(LOG, str(log)), encoding="utf-8")
    command = [str(TWISTD), "--nodaemon", "--pidfile=", "aero-storage", "--images-root", str(demo_image.parent)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--listen-addr", "127.0.0.1:0"], cwd=tmp_path, env=environment, stdout=output
        )
    try:
        until(lambda: '"message": "listening"' in log.read_text(), "the daemon to listen")
        events = [json.loads(line) for line in log.read_text().splitlines()]
        (base,) = [f"http://{event['address']}" for event in events if event["message"] == "listening"]
        for name in ("before", "after"):
            asked = urllib.request.Request(f"{base}/v1/images", headers={"X-Request-Id": name})
            urllib.request.urlopen(asked, timeout=PATIENCE).close()
            until(partial(has, log, name), f"the line of the request {name}")
            if name == "before":
                run_tool(logrotate, "--force", "--state", tmp_path / "state", tmp_path / "rules")
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert json.loads(log.read_text().splitlines()[0])["request_id"] == "after"
    old = gzip.decompress(log.with_name(f"{log.name}.1.gz").read_bytes()).decode()
    assert [json.loads(line) for line in old.splitlines()][-1]["request_id"] == "before"
