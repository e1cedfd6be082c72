"""aiohttp with uvloop serves a directory: `aiohttp_files.py ROOT PORT`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop
from aiohttp import web


def main(root: Path, port: int) -> None:
    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(root / request.match_info["path"])

    app = web.Application()
    app.router.add_get("/{path:.+}", send)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
