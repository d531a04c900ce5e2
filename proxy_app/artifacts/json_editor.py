"""Edits strings of a JSON document at given paths while it passes, and nothing else of it."""

import json
import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import TypeAlias, cast


class Leaf(Enum):
    """What a path ends with.

    LOCATION: a string to edit. TAG_NAME and TAG_LOCATION: the members ``key`` and ``value`` of a tag; the value is
    edited if the key, which precedes it, names one of the editor's tags.
    """

    LOCATION = auto()
    TAG_NAME = auto()
    TAG_LOCATION = auto()


Paths: TypeAlias = "Mapping[bytes | None, Paths | Leaf]"
"""Paths as a tree: the members of an object by name, the elements of an array by None."""

# Bytes that wait for the rest of a string or of a member. A longer string is no location.
_PENDING_LIMIT = 64 * 1024

# Possessive quantifiers: each pattern is linear in the length of what it matches.
_TEXT = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING = re.compile(rb'"' + _TEXT + rb'"', re.DOTALL)
_STRING_REST = re.compile(_TEXT + rb'("?)', re.DOTALL)
_BETWEEN = re.compile(rb'[^"{}\[\]]*+')
_MEMBER = re.compile(rb'"(' + _TEXT + rb')"[ \t\r\n]*+:[ \t\r\n]*+(?=[^ \t\r\n])', re.DOTALL)


def _balanced(depth: int) -> bytes:
    """A pattern for values without brackets, and for those with whole containers up to a depth."""
    plain = rb'[^"{}\[\]]*+(?:"' + _TEXT + rb'"[^"{}\[\]]*+)*+'
    content = plain
    for _ in range(depth):
        content = plain + rb"(?:[{\[]" + content + rb"[}\]]" + plain + rb")*+"
    return content


_SKIPPED = re.compile(_balanced(2), re.DOTALL)
_QUOTE = ord('"')
_OPENING, _CLOSING = b"{[", b"}]"


class JsonEditor:
    """Replaces the strings at ``paths`` by ``edit`` of them; every other byte passes unchanged.

    A document that is not JSON passes unchanged from where that shows. The memory that the editor needs does not depend
    on the document's length.
    """

    def __init__(self, paths: Paths, tags: frozenset[str], edit: Callable[[str], str]) -> None:
        self._tags = tags
        self._edit = edit
        self._pending = b""
        # The open containers that a path leads into: (paths, whether it is an object), and the tag's name in each.
        self._stack: list[tuple[Paths, bool]] = [({None: paths}, False)]
        self._names: list[str | None] = [None]
        # The number of open containers below them that no path leads into.
        self._depth = 0
        self._in_string = False
        self._malformed = False

    def feed(self, chunk: bytes) -> bytes:
        """The next part of the edited document."""
        if self._malformed:
            return chunk
        data = self._pending + chunk if self._pending else chunk
        edits: list[tuple[int, int, bytes]] = []
        end = self._scan(data, edits)
        if len(data) - end > 2 * _PENDING_LIMIT:
            self._malformed = True
        if self._malformed:
            end = len(data)
        self._pending = data[end:]
        if not edits:
            return data if end == len(data) else data[:end]
        parts: list[bytes] = []
        position = 0
        for start, stop, text in edits:
            parts += data[position:start], text
            position = stop
        return b"".join([*parts, data[position:end]])

    def finish(self) -> bytes:
        """The last part of the document."""
        return self._pending

    def _scan(self, data: bytes, edits: list[tuple[int, int, bytes]]) -> int:
        """Read as far as possible; the position from which more data is needed."""
        position = 0
        while True:
            if self._in_string:
                found = _match(_STRING_REST, data, position)
                position = found.end()
                self._in_string = not found[1]
                if self._in_string:
                    return position
            elif self._depth:
                position = _match(_SKIPPED, data, position).end()
                if position == len(data):
                    return position
                byte = data[position]
                if byte == _QUOTE:  # of a string that is incomplete so far
                    self._in_string = True
                else:
                    self._depth += 1 if byte in _OPENING else -1
                position += 1
            else:
                start = _match(_BETWEEN, data, position).end()
                if start == len(data):
                    return start
                position = self._enter(data, start, edits)
                if position < 0:
                    return start

    def _enter(self, data: bytes, position: int, edits: list[tuple[int, int, bytes]]) -> int:
        """Read one member, element or end of the innermost container; -1 if that needs more data, or is malformed."""
        paths, is_object = self._stack[-1]
        byte = data[position]
        if byte in _CLOSING:
            if (byte == _CLOSING[0]) != is_object or len(self._stack) == 1:
                return self._stop()
            self._stack.pop()
            self._names.pop()
            return position + 1
        if is_object:
            if byte != _QUOTE:
                return self._stop()
            member = _MEMBER.match(data, position)
            if member is None:
                return -1
            child = paths.get(_name(member[1]))
            position = member.end()
            byte = data[position]
        else:
            child = paths.get(None)
        if byte == _QUOTE:
            if isinstance(child, Leaf):
                return self._string(data, position, child, edits)
            self._in_string = True
        elif byte in _OPENING:
            if child is None or isinstance(child, Leaf):
                self._depth = 1
            else:
                self._stack.append((child, byte == _OPENING[0]))
                self._names.append(None)
        elif byte in _CLOSING:  # a name without a value
            return self._stop()
        # Else a number or a word, which is skipped with what follows it.
        return position + 1

    def _stop(self) -> int:
        self._malformed = True
        return -1

    def _string(self, data: bytes, start: int, leaf: Leaf, edits: list[tuple[int, int, bytes]]) -> int:
        found = _STRING.match(data, start)
        if found is None:
            if len(data) - start <= _PENDING_LIMIT:
                return -1
            self._in_string = True
            return start + 1
        if leaf is Leaf.TAG_LOCATION and self._names[-1] not in self._tags:
            return found.end()
        try:
            text = json.loads(found[0].decode())
        except ValueError:
            return found.end()
        if leaf is Leaf.TAG_NAME:
            self._names[-1] = text
        elif (edited := self._edit(text)) != text:
            edits.append((start, found.end(), json.dumps(edited).encode()))
        return found.end()


def _name(raw: bytes) -> bytes:
    if b"\\" not in raw:
        return raw
    try:
        return json.loads(b'"%b"' % raw).encode(errors="surrogatepass")
    except ValueError:
        return b""


def _match(pattern: re.Pattern[bytes], data: bytes, position: int) -> re.Match[bytes]:
    """The match of a pattern that also matches nothing."""
    return cast("re.Match[bytes]", pattern.match(data, position))
