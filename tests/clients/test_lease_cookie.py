"""A page of docs/how-to/private-images.md exchanges a lease for a cookie, in a browser: one URL for hours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clients.chromium import IMAGES_HOST, PAGE_HOST, browser, page_server, wait_for
from tests.clients.lease_application import running
from tests.clients.lease_examples import write_examples
from tests.clients.nginx_proxy import free_port

PAGE = """\
<!doctype html>
<meta charset="utf-8">
<script type="module">
const found = {};
async function look() {
  const { takeCookie } = await import("./cookie.js");
  const { url, end } = await takeCookie();
  const status = async credentials => (await fetch(url, { credentials, headers: { Range: "bytes=0-511" } })).status;
  found.url = url;
  found.minutes = (end - Date.now()) / 60_000;
  found.with_cookie = await status("include");
  found.without_cookie = await status("omit");
  found.readable = document.cookie;
}
await look().catch(error => { found.error = `${error}\\n${error.stack}`; });
const report = new URLSearchParams(location.search).get("report");
await fetch(report, { method: "POST", mode: "no-cors", body: JSON.stringify(found) });
</script>
"""


def test_one_url(
    private_image: Path,
    start_daemon: Callable[..., tuple[str, int, Path]],
    require_tool: Callable[..., str],
    tmp_path: Path,
) -> None:
    """Its own URL opens the image with the cookie alone, from an origin that may send it; no script sees it."""
    chromium = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    port = free_port()
    flags = ("--lease-keys-file", str(private_image.with_name("keys.json")))
    base, _, _ = start_daemon(private_image, *flags, "--cors-origin", f"http://{PAGE_HOST}:{port}")
    base = base.replace("127.0.0.1", IMAGES_HOST)
    write_examples(tmp_path, base, port)
    (tmp_path / "page" / "index.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "issuer.json").symlink_to(private_image.with_name("issuer.json"))
    with running([sys.executable, "app_klein.py"], tmp_path, port), page_server("") as (collector, reports):
        address = f"http://{PAGE_HOST}:{port}/?report={collector}/report"
        with browser(chromium, address, tmp_path) as (process, complaints):
            found = wait_for(reports, process, complaints)
    assert found.pop("minutes") == pytest.approx(15, abs=1)
    assert found == {
        "url": f"{base}/v1/images/win98",
        "with_cookie": 206,
        "without_cookie": 401,
        "readable": "",
    }
