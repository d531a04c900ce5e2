"""MkDocs hooks: pages that are written for GitHub and for this repository become pages of a site.

- Pages outside docs/ (CONTRIBUTING.md, the client's README and others in PAGES) are on the site, too.
- Links whose text is a file's name get the page's title. Links to other files of the repository become plain text: the
  site has no repository to link to.
- Lists are indented by four spaces a level, as Python-Markdown reads them; GitHub accepts two or three.
- The scripts that the pages load are the ones that website/vendor.py fetched.
"""

import logging
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from website.vendor import FOLDER, ROOT, SCRIPTS

# MkDocs counts the warnings of its own loggers, and a strict build fails on one.
log = logging.getLogger("mkdocs.hooks.website")

# Pages that are not in docs/: path in the repository, and on the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "mlflow_iap/README.md": "mlflow-iap.md",
}
# The site's home replaces README.md.
_ON_THE_SITE = {**PAGES, "README.md": "index.md"}
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])+)\]\((?P<target>[^()\s]+)\)")
_FILE_NAME = re.compile(r"`?[\w./-]+\.md`?")
_FENCE = re.compile(r"^ *(`{3,}|~{3,})")
_ITEM = re.compile(r"^ *(?P<marker>[-*+]|\d+[.)]) +(?=\S)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/ and the scripts."""
    for source, path in PAGES.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_text(encoding="utf-8")))
    for script in SCRIPTS:
        files.append(File(script.path, str(FOLDER), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: MkDocsConfig, **_: Any) -> str:
    """Return the page's Markdown in the form that MkDocs reads."""
    path: str = page.file.src_uri
    source = next((source for source, target in PAGES.items() if target == path), f"docs/{path}")
    titles = titles_in(cast("Any", config).nav)
    return indent_lists(map_outside_fences(markdown, lambda text: rewrite_links(text, source, titles)))


def titles_in(nav: Any) -> dict[str, str]:
    """Return the title of each page in a navigation, as mkdocs.yml has it: by path."""
    titles: dict[str, str] = {}
    for entry in cast("list[Any]", nav or []):
        for title, content in cast("dict[str, Any]", entry).items() if isinstance(entry, dict) else ():
            titles |= {content: title} if isinstance(content, str) else titles_in(content)
    return titles


def rewrite_links(text: str, source: str, titles: Mapping[str, str]) -> str:
    """Return a text of the file ``source`` with links to pages of the site, and no links to what the site lacks."""

    def rewrite(link: re.Match[str]) -> str:
        label = link["text"]
        target, _, anchor = link["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        page = _ON_THE_SITE.get(path)
        if page is None and path.startswith("docs/"):
            page = path.removeprefix("docs/")
        if page is None:
            if not (ROOT / path).exists():
                log.warning("%s: the link to %s leads to no file", source, link["target"])
            return label if label.startswith("`") or " " in label else f"`{label}`"
        if _FILE_NAME.fullmatch(label):
            label = titles.get(page, label)
        return f"[{label}]({page}{'#' if anchor else ''}{anchor})"

    return _LINK.sub(rewrite, text)


def map_outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """Return Markdown with a change to the text between code blocks.

    The text is passed as one string, since a link may begin on one line and end on the next.
    """
    parts: list[str] = []
    text: list[str] = []
    fence = ""
    for line in markdown.split("\n"):
        found = _FENCE.match(line)
        if not fence and found:
            parts += [change("\n".join(text))] if text else []
            text, fence = [], found[1]
            parts.append(line)
        elif fence:
            parts.append(line)
            if line.strip() == fence:
                fence = ""
        else:
            text.append(line)
    if text:
        parts.append(change("\n".join(text)))
    return "\n".join(parts)


def indent_lists(markdown: str) -> str:
    """Return Markdown with the content of list items indented by four spaces a level."""
    lines: list[str] = []
    # The columns at which the content of the open items begins.
    columns: list[int] = []
    fence = ""
    for line in markdown.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        item = None if fence else _ITEM.match(line)
        in_list = bool(columns)
        if line.strip() and not fence and (item or not _in_paragraph(lines)):
            while columns and indent < columns[-1]:
                columns.pop()
        if item:
            if not in_list and _in_paragraph(lines):
                lines.append("")
            lines.append(f"{' ' * 4 * len(columns)}{item['marker']:<3} {line[item.end() :]}")
            columns.append(item.end())
        else:
            own = line[min(indent, columns[-1]) :] if columns else line
            lines.append(" " * 4 * len(columns) + own if line.strip() else "")
        found = _FENCE.match(line)
        if fence and line.strip() == fence:
            fence = ""
        elif found and not fence:
            fence = found[1]
    return "\n".join(lines)


def _in_paragraph(lines: list[str]) -> bool:
    """Whether the next line would continue a paragraph: in a list, at any indentation."""
    return bool(lines) and bool(lines[-1].strip()) and not _FENCE.match(lines[-1]) and not lines[-1].startswith("#")
