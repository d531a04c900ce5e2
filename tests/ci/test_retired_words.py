"""Retired words and names, listed in retired_words.toml, do not come back: the glossary has the terms in use."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("retired_words.toml")
RETIRED = tomllib.loads(LIST.read_text(encoding="utf-8"))
# The history, the table of terms, and texts of others.
EXCLUDED = (
    "CHANGELOG.md",
    "docs/glossary.md",
    "LICENSE",
    str(LIST.relative_to(ROOT)),
    str(Path(__file__).relative_to(ROOT)),
    "tests/proxy_app/aws4_testsuite",
)
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NAMES = re.compile("|".join(re.escape(name) for name in RETIRED["names"]))


def retired_in(line: str) -> Iterator[str]:
    """The retired words and names in a line; words are compared with the parts of each identifier."""
    found = {part.lower() for part in _PARTS.findall(line)} & set(RETIRED["words"])
    for word in found:
        allowed = RETIRED["allowed"].get(word, [])
        rest = re.sub("|".join(map(re.escape, allowed)), "", line) if allowed else line
        if word in {part.lower() for part in _PARTS.findall(rest)}:
            yield word
    yield from _NAMES.findall(line)


def tracked_files() -> list[str]:
    """The repository's text files that are checked, by their paths from its root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.split("\0") if path and not path.startswith(EXCLUDED) and (ROOT / path).is_file()]


def test_tree_has_no_retired_words() -> None:
    replacements = {**RETIRED["words"], **RETIRED["names"]}
    found: list[str] = []
    for path in tracked_files():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = [path, *text.splitlines()]
        found += [
            f"{path}:{number}: {word!r} is retired, write: {replacements[word]}"
            for number, line in enumerate(lines)
            for word in retired_in(line)
        ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("the gate is open", ["gate"]),
        ("openGate(GATE_URL)", ["gate"]),
        ("def gate_tokens():", ["gate"]),
        ("aggregate, investigate, indoors", []),
        ("aws sts get-caller-identity", []),
        ("aws sts get-caller-identity of the caller", ["caller"]),
        ('reason = "foreign-host"', ["foreign-host"]),
    ],
)
def test_words_are_found_in_text_and_identifiers(line: str, words: list[str]) -> None:
    assert list(retired_in(line)) == words
