"""The files of the page, as they are installed."""

from __future__ import annotations

import gzip
import re

from justhtml import JustHTML

from query.page.files import CHARTS, Files, read_files

TRANSFERRED_BYTES = 300_000
"""What the page, its chart library included, may weigh on the wire."""

FILES = read_files()


TO_MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(")
"""Ways to turn text into markup or code."""


def text(files: Files, name: str) -> str:
    """A file of the page, as text."""
    return files.assets[name].plain.decode()


def test_the_page_is_light() -> None:
    """Everything that can be loaded, compressed, stays under the bound."""
    files = [FILES.index, *FILES.assets.values()]
    assert sum(len(file.gzipped) for file in files) < TRANSFERRED_BYTES


def test_the_compressed_form_is_the_same() -> None:
    """Who takes gzip gets what the others get."""
    for file in FILES.assets.values():
        assert gzip.decompress(file.gzipped) == file.plain


def test_the_version_stands_for_the_content() -> None:
    """It is the same for the same files, and in every address of the index."""
    assert read_files().version == FILES.version
    addresses = re.findall(r'(?:src|href)="(assets/[^"]+)"', FILES.index.plain.decode())
    assert len(addresses) >= 5
    for address in addresses:
        _, version, name = address.split("/")
        assert version == FILES.version
        assert name in FILES.assets


def test_the_index_is_valid_html() -> None:
    """A strict parser takes it, and it has nothing that its own policy would refuse: no inline script, no style."""
    page = JustHTML(FILES.index.plain, strict=True, sanitize=False)
    scripts = page.query("script[src]")
    assert len(page.query("script")) == len(scripts) == 2
    assert not any(script.to_text() for script in scripts)
    assert not page.query("style, [style], [onclick], [onload]")
    assert len(page.query("label select")) == len(page.query("select")) == 1, "every control has a label"


def test_modules_import_what_there_is() -> None:
    """Every module that another one imports is among the files, and is beside it: nothing comes from elsewhere."""
    for name, file in FILES.assets.items():
        if not name.endswith(".js") or name == CHARTS:
            continue
        imported = re.findall(r'(?:from |import\()"([^"]+)"', file.plain.decode())
        for other in imported:
            assert other.removeprefix("./") in FILES.assets, f"{name} imports {other}"


def test_nothing_writes_markup() -> None:
    """No file of ours turns text into markup or code; what clients pushed is only ever text."""
    for name in FILES.assets:
        if name.endswith(".js") and name != CHARTS:
            assert not TO_MARKUP.search(text(FILES, name)), name
