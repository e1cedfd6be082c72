"""`aero-storage verify`: verifies published chunks against their manifest, on disk or over HTTP."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import click

from aero_storage.catalog.model import MANIFEST_NAME
from aero_storage.chunks.verify.local import LocalSource
from aero_storage.chunks.verify.remote import DEADLINE_SECONDS, http_source
from aero_storage.chunks.verify.source import ChunkSource
from aero_storage.chunks.verify.verifier import VerifyReport, verify
from aero_storage.cli.options import CommandContext, cores, with_json, with_root
from aero_storage.cli.progress import Advance, progress
from aero_storage.cli.sizes import format_size
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import is_image_id

_SHOWN = 100
"""Limit of mismatches printed as text; --json has all."""


@attrs.frozen
class _Target:
    """The chunks to be verified, and the names that their manifest must have."""

    source: ChunkSource
    image_id: str | None = None
    version: str | None = None


@click.command("verify", short_help="Check published chunks.")
@click.argument("target", metavar="ID|MANIFEST-FILE|MANIFEST-URL")
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Check N chunks at random, the first and the last among them.",
)
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Number of cores to use; all by default.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 30 * 24 * 3600),
    default=DEADLINE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="With a URL: give up when all of it takes longer.",
)
@with_root
@with_json
@click.pass_obj
def verify_chunks(context: CommandContext, target: str, sample: int | None, jobs: int | None, timeout: float) -> int:
    """Check published chunks: the manifest's rules, every size, every digest.

    With ID, the chunks that the catalog names are read from disk. A URL (http or https) is read as browsers read it,
    and the headers that they need are checked too. The exit status is 1 if there is a mismatch.
    """
    wanted = _find(context, target, timeout)

    def track(total: int) -> AbstractContextManager[Advance]:
        return progress(f"Verifying {wanted.source.name}", total)

    report = verify(
        wanted.source,
        jobs=jobs or cores(),
        sample=sample,
        image_id=wanted.image_id,
        version=wanted.version,
        track=track,
    )
    context.output.result(_document(report), *_lines(report, wanted.image_id))
    return 0 if report.is_good else 1


def _find(context: CommandContext, target: str, timeout: float) -> _Target:
    if target.lower().startswith(("http:", "https:")):
        return _Target(http_source(target, timeout))
    path = Path(target)
    if path.is_dir() and (path / MANIFEST_NAME).exists():
        return _Target(LocalSource(path / MANIFEST_NAME))
    if not is_image_id(target) or (path.is_file() and path.suffix == ".json"):
        return _Target(LocalSource(path))
    image = context.image(target)
    manifest = context.root / image.chunked_directory / MANIFEST_NAME
    if not manifest.exists():
        raise OperatorError(
            f"{target} has no published chunks ({manifest} is not there); cut it with: aero-storage publish {target}"
        )
    return _Target(LocalSource(manifest), image.id, image.chunked_version)


def _document(report: VerifyReport) -> dict[str, object]:
    manifest = report.manifest
    return {
        "ok": report.is_good,
        "source": report.source,
        "version": None if manifest is None else manifest.version,
        "chunks": report.chunks,
        "bytes": report.bytes,
        "mismatches": [{"where": one.where, "what": one.what} for one in report.mismatches],
        "remarks": list(report.remarks),
    }


def _lines(report: VerifyReport, image_id: str | None) -> list[str]:
    lines = [f"{one.where}: {one.what}" for one in report.mismatches[:_SHOWN]]
    if len(report.mismatches) > _SHOWN:
        lines.append(f"… and {len(report.mismatches) - _SHOWN} more; --json lists them all")
    lines += [f"remark: {remark}" for remark in report.remarks]
    verdict = "good" if report.is_good else f"{len(report.mismatches)} mismatches"
    lines.append(f"{report.source}: {verdict}; {report.chunks} chunks, {format_size(report.bytes)} checked")
    if not report.is_good and image_id is not None:
        lines.append(
            f"to mend it: aero-storage remove {image_id} --chunks-only, then aero-storage publish {image_id}"
        )
    return lines
