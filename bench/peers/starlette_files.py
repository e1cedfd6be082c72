"""Starlette under uvicorn (uvloop, httptools) serves a directory: `starlette_files.py ROOT PORT`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route


def main(root: Path, port: int) -> None:
    async def send(request: Request) -> Response:
        return FileResponse(root / request.path_params["path"])

    app = Starlette(routes=[Route("/{path:path}", send)])
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
