"""Names of files that are no whole image, whatever they hold: parts, and downloads that have not ended."""

from __future__ import annotations

from aero_storage.image_formats.signatures.signature import Signature

NAMES: tuple[tuple[str, Signature], ...] = (
    (
        r"-[fs]\d{3}\.vmdk$",
        Signature(
            "one part of a VMDK disk, by its name",
            "import the descriptor file of the disk, which names this part",
        ),
    ),
    (
        r"\.(\d{3}|part\d+|z\d{2}|r\d{2})$",
        Signature("one part of a file in several, by its name", "put them together first: cat PARTS > disk.img"),
    ),
    (
        r"\.(part|partial|crdownload|download|opdownload|aria2|filepart|!ut)$",
        Signature("a download that has not ended, by its name", "wait for its end, or download it again"),
    ),
)
"""A regular expression for names in lower case, and what such a file is."""
