"""`aero-storage verify`: verifies published chunks, on disk or over HTTP, and raw images against recorded digests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import click

from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.chunks.verify.local import LocalSource
from aero_storage.chunks.verify.remote import DEADLINE_SECONDS, http_source
from aero_storage.chunks.verify.source import ChunkSource
from aero_storage.chunks.verify.verifier import Mismatch, VerifyReport, verify
from aero_storage.cli.image_digests import ImageReport, check_image, why_unchecked
from aero_storage.cli.options import CommandContext, cores, with_json, with_root
from aero_storage.cli.progress import Advance, progress
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import is_image_id
from aero_storage.http.shown_urls import is_like_url
from aero_storage.sizes import format_size

_SHOWN = 100
"""Limit of mismatches printed as text; --json has all."""

_IMAGE = "image"
"""The `where` of a mismatch of the raw image."""


@attrs.frozen
class _Target:
    """Chunks to be verified, the image of an id, or both; the manifest of chunks must have the names of the image."""

    source: ChunkSource | None
    image: Image | None = None


@attrs.frozen
class _Verdict:
    """All that was found out of a target."""

    source: str
    chunks: VerifyReport | None
    image: ImageReport | None
    remarks: tuple[str, ...]

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        found = () if self.chunks is None else self.chunks.mismatches
        if self.image is None or self.image.is_good:
            return found
        what = f"has the SHA-256 digest {self.image.found}, not the catalog's {self.image.expected}"
        return (Mismatch(_IMAGE, what), *found)


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

    With ID, the chunks that the catalog names are read from disk, and the raw image is checked against the SHA-256
    that the catalog records, unless --sample is given. A URL (http or https) is read as browsers read it, and the
    headers that they need are checked too. The exit status is 1 if there is a mismatch.
    """
    wanted = _find(context, target, timeout)
    reason = _why_image_unchecked(context, wanted, sample)
    if wanted.source is None and reason is not None:
        raise OperatorError(f"{target} has no published chunks, and {reason}")
    image = None if wanted.image is None or reason is not None else check_image(context.repository, wanted.image)
    chunks = None if wanted.source is None else _verify_chunks(wanted.source, wanted.image, jobs, sample)
    verdict = _verdict(chunks, image, reason)
    context.output.result(_document(verdict), *_lines(verdict, wanted.image))
    return 1 if verdict.mismatches else 0


def _why_image_unchecked(context: CommandContext, wanted: _Target, sample: int | None) -> str | None:
    if wanted.image is None:
        return None
    reason = why_unchecked(context.repository, wanted.image)
    return "the image was not checked: --sample is given" if reason is None and sample is not None else reason


def _verify_chunks(source: ChunkSource, image: Image | None, jobs: int | None, sample: int | None) -> VerifyReport:
    def track(total: int) -> AbstractContextManager[Advance]:
        return progress(f"Verifying {source.name}", total)

    return verify(
        source,
        jobs=jobs or cores(),
        sample=sample,
        image_id=None if image is None else image.id,
        version=None if image is None else image.chunked_version,
        track=track,
    )


def _verdict(chunks: VerifyReport | None, image: ImageReport | None, reason: str | None) -> _Verdict:
    remarks = () if chunks is None else chunks.remarks
    source = chunks.source if chunks is not None else image.name if image is not None else ""
    return _Verdict(source, chunks, image, remarks if reason is None else (*remarks, reason))


def _find(context: CommandContext, target: str, timeout: float) -> _Target:
    if is_like_url(target):
        return _Target(http_source(target, timeout))
    path = Path(target)
    if path.is_dir() and (path / MANIFEST_NAME).exists():
        return _Target(LocalSource(path / MANIFEST_NAME))
    if not is_image_id(target) or (path.is_file() and path.suffix == ".json"):
        return _Target(LocalSource(path))
    image = context.image(target)
    chunks = context.repository.chunk_source(image)
    if chunks is None and (image.chunked_version is not None or image.sha256 is None):
        manifest = context.repository.chunk_manifest_name(image)
        raise OperatorError(
            f"{target} has no published chunks ({manifest} is not there); cut it with: aero-storage publish {target}"
        )
    return _Target(chunks, image)


def _document(verdict: _Verdict) -> dict[str, object]:
    chunks, image = verdict.chunks, verdict.image
    manifest = None if chunks is None else chunks.manifest
    return {
        "ok": not verdict.mismatches,
        "source": verdict.source,
        "version": None if manifest is None else manifest.version,
        "chunks": 0 if chunks is None else chunks.chunks,
        "bytes": 0 if chunks is None else chunks.bytes,
        "image": None if image is None else {"ok": image.is_good, "sha256": image.found, "bytes": image.size},
        "mismatches": [{"where": one.where, "what": one.what} for one in verdict.mismatches],
        "remarks": list(verdict.remarks),
    }


def _lines(verdict: _Verdict, image: Image | None) -> list[str]:
    mismatches = verdict.mismatches
    lines = [f"{one.where}: {one.what}" for one in mismatches[:_SHOWN]]
    if len(mismatches) > _SHOWN:
        lines.append(f"… and {len(mismatches) - _SHOWN} more; --json lists them all")
    lines += [f"remark: {remark}" for remark in verdict.remarks]
    if verdict.image is not None:
        lines.append(_image_line(verdict.image))
    if verdict.chunks is not None:
        lines += _chunk_lines(verdict.chunks, image)
    return lines


def _image_line(image: ImageReport) -> str:
    said = "good" if image.is_good else "not the image that the catalog records; import the right one again"
    return f"{image.name}: {said}; {format_size(image.size)} checked, SHA-256 {image.found}"


def _chunk_lines(report: VerifyReport, image: Image | None) -> Iterator[str]:
    verdict = "good" if report.is_good else f"{len(report.mismatches)} mismatches"
    yield f"{report.source}: {verdict}; {report.chunks} chunks, {format_size(report.bytes)} checked"
    if not report.is_good and image is not None:
        yield f"to mend it: aero-storage remove {image.id} --chunks-only, then aero-storage publish {image.id}"
