"""The files of the page: read once, each with what a response needs to know of it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath

TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

INDEX = "index.html"
VERSION_MARK = "@version"
"""Stands in the index where the version belongs, in the addresses of the other files."""

CHARTS = "chart.bundle.js"
"""The name under which Chart.js is served; it comes with the package chartkick."""
CHARTS_SOURCE = "django/static/chartkick/Chart.bundle.js"


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent, plain and compressed."""

    content_type: str
    plain: bytes
    gzipped: bytes
    digest: str
    """Hexadecimal, of the plain content."""


@dataclass(frozen=True, slots=True)
class Files:
    """All files of the page. A change of any of them changes the version."""

    index: File
    version: str
    assets: Mapping[str, File]


def read_files() -> Files:
    """The page's files as they are installed. Raises `OSError` when one is missing."""
    contents = {entry.name: entry.read_bytes() for entry in _folder().iterdir() if entry.is_file()}
    contents[CHARTS] = resources.files("chartkick").joinpath(CHARTS_SOURCE).read_bytes()
    digests = "".join(f"{name} {_digest(content)}\n" for name, content in sorted(contents.items()))
    version = _digest(digests.encode())[:16]
    index = contents.pop(INDEX).replace(VERSION_MARK.encode(), version.encode())
    return Files(_file(INDEX, index), version, {name: _file(name, content) for name, content in contents.items()})


def _folder() -> Traversable:
    return resources.files("query.page").joinpath("static")


def _file(name: str, content: bytes) -> File:
    return File(TYPES[PurePath(name).suffix], content, gzip.compress(content, 9, mtime=0), _digest(content))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
