"""Links of the pages: what lies outside of ``docs`` is a page of the site, or exists at least."""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {"CHANGELOG.md": "changes.md", "benchmarks/results.md": "benchmarks.md", "README.md": "index.md"}
"""Files of the repository → pages of the site."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$", flags=re.MULTILINE | re.DOTALL)
_made: set[str] = set()
"""Pages of the site that are no files: they are written while it is built."""
_log = get_plugin_logger("links")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are files elsewhere in the repository."""
    for source, page in PAGES.items():
        if page not in files.src_uris:
            files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    _made.update(file.src_uri for file in files if file.generated_by)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page, written for the repository, into those of the site."""
    origins = {made: source for source, made in PAGES.items()}
    uri = page.file.src_uri
    origin = PurePosixPath(origins.get(uri, f"docs/{uri}"))
    pieces, end = [], 0
    for fence in _FENCE.finditer(markdown):
        pieces += [_LINK.sub(lambda found: _linked(found, origin, uri), markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, _LINK.sub(lambda found: _linked(found, origin, uri), markdown[end:])])


def _linked(found: re.Match[str], origin: PurePosixPath, page: str) -> str:
    """Return one link as the site has it; a file without a page is named, and not linked."""
    image, text, target = found.groups()
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return found[0]
    file = os.path.normpath(origin.parent / path)
    if file.removeprefix("docs/") in _made:
        return found[0]
    if not (ROOT / file).exists():
        _log.warning("%s links to %s, which does not exist", origin, target)
        return found[0]
    if not file.startswith("docs/") and file not in PAGES:
        return text
    uri = PAGES.get(file, file.removeprefix("docs/"))
    return f"{image}[{text}]({os.path.relpath(uri, os.path.dirname(page) or '.')}{hash_}{anchor})"
