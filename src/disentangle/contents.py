"""What lies in a file where something else was expected, told by its first bytes.

Data sets and models are downloaded, and what comes is often a placeholder, a page, or an archive that holds them.
"""

from __future__ import annotations

import os
import re

__all__ = ["misplaced"]

FIRST = 1024  # bytes that are looked at
# What a file is, and what it then begins with. No text file begins like this, and no file of another kind in this list.
KINDS = {
    "safetensors": rb".{5}\0\0\0\{",  # begins with the length of the header, which can look like another kind
    "a pickle": rb"\x80[\x02-\x05]",
    "a file of NumPy (.npy)": rb"\x93NUMPY",
    "an HDF5 file": rb"\x89HDF\r\n\x1a\n",
    "a Git LFS pointer: the file itself is still to be fetched, git lfs pull": rb"version https://git-lfs\.github\.com/",
    "a git-annex pointer: the file itself is still to be fetched, git annex get": rb"(\.\./)*(\.git)?/annex/objects/",
    "an HTML page: what was downloaded was not the file, perhaps one of the site's own pages": (
        rb"(?i)(<!--.*?-->\s*)?(<!doctype html|<html|<head|<body)"
    ),
    "an XML document, perhaps the error of a server": rb"<\?xml",
    "a file of torch.save: load it with torch.load, and write its tensors as NumPy arrays": (
        rb"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.|PK\x03\x04.{26}[^\0]{0,200}?/data\.pkl"
    ),
    "a zip archive, as numpy.savez and Excel write: unpack it, or load it with what wrote it": rb"PK(\x03\x04|\x05\x06)",
    "an archive that is to be unpacked first, of gzip": rb"\x1f\x8b",
    "an archive that is to be unpacked first, of bzip2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "an archive that is to be unpacked first, of xz": rb"\xfd7zXZ\0",
    "an archive that is to be unpacked first, of Zstandard": rb"\x28\xb5\x2f\xfd",
    "an archive that is to be unpacked first, of 7-Zip": rb"7z\xbc\xaf\x27\x1c",
    "an archive that is to be unpacked first, of RAR": rb"Rar!\x1a\x07",
    "an archive that is to be unpacked first, of tar": rb"[^\0].{256}ustar",
    "a MATLAB file": rb"MATLAB \d\.\d MAT-file",
    "a Parquet file": rb"PAR1\x15",
    "a PDF": rb"%PDF-",
}
PATTERNS = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in KINDS.items()}
# A pickle that torch wrote is told apart from one that it did not.
ORDER = sorted(PATTERNS, key=lambda kind: kind == "a pickle")


def misplaced(path: str | os.PathLike[str], wanted: str) -> str | None:
    """Says what a file evidently holds in place of what is wanted: "expected ..., got ..."; None if nothing is evident.

    Arguments:
        path: A regular file.
        wanted: What it should hold, such as "CSV". "safetensors", "a pickle", "a file of NumPy (.npy)" and "an HDF5 file" are
            recognised, too.

    Raises:
        OSError: If the file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(b"version https://git-lfs.github.com/spec/v1\\noid sha256:4d7a\\nsize 12345\\n")
        ...     file.flush()
        ...     misplaced(file.name, "a pickle")
        'expected a pickle, got a Git LFS pointer: the file itself is still to be fetched, git lfs pull'
    """
    with open(path, "rb") as file:
        start = file.read(FIRST)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for kind in ORDER:
        if PATTERNS[kind].match(start) or PATTERNS[kind].match(text):
            return None if kind == wanted else f"expected {wanted}, got {kind}"
    return None
