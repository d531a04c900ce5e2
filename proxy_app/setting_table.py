"""Settings from environment variables: each with its default and a sentence, in one table that is a page, too."""

import dataclasses
import difflib
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self, cast


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


def setting(env: str, default: str, sentence: str, parse: Callable[[str], Any] = str, *, secret: bool = False) -> Any:
    """A field of a SettingTable. ``parse`` raises ValueError with what the variable takes."""
    return dataclasses.field(
        default_factory=lambda: parse(default),
        metadata={"env": env, "default": default, "sentence": sentence, "parse": parse, "secret": secret},
        repr=not secret,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettingTable:
    """Base of a dataclass whose fields are settings, in reading order."""

    prefix: ClassVar[str]
    """Another variable that begins so is a mistake."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; SettingsError names every one that is wrong."""
        fields = {field.metadata["env"]: field for field in dataclasses.fields(cls)}
        problems: list[str] = []
        values: dict[str, Any] = {}
        wrong: set[str] = set()
        for name in sorted(environ):
            if name.startswith(cls.prefix) and name not in fields:
                # Without the prefix, which makes any two names alike.
                short = {field.removeprefix(cls.prefix): field for field in fields}
                close = [short[one] for one in difflib.get_close_matches(name.removeprefix(cls.prefix), short, 1)]
                wrong.update(close)
                problems.append(f"{name} is not a setting" + (f"; is {close[0]} meant?" if close else "."))
        for name, field in fields.items():
            # A secret may begin or end with anything.
            text = environ.get(name, "") if field.metadata["secret"] else environ.get(name, "").strip()
            if not text:
                continue
            try:
                values[field.name] = cast("Callable[[str], Any]", field.metadata["parse"])(text)
            except ValueError as error:
                wrong.add(name)
                problems.append(f"{name}: {_shown(text)} is not right; it takes {error}.")
        settings = cls(**values)
        problems += [text for about, text in settings.contradictions() if not wrong.intersection(about)]
        if problems:
            raise SettingsError("\n".join(problems))
        return settings

    def contradictions(self) -> Iterable[tuple[Iterable[str], str]]:
        """(variables, what is wrong between them), where each is right by itself."""
        return ()

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """(environment variable, default, sentence) of every setting, in reading order."""
        return [
            (field.metadata["env"], field.metadata["default"], field.metadata["sentence"])
            for field in dataclasses.fields(cls)
        ]

    @classmethod
    def help_text(cls) -> str:
        """The table for a terminal."""
        lines = ["settings (environment variables; empty means the default):"]
        for name, default, sentence in cls.table():
            shown = f"{sentence} [{default}]" if default else sentence
            lines.append(f"  {name}")
            lines.extend(textwrap.wrap(shown, 76, initial_indent="      ", subsequent_indent="      "))
        return "\n".join(lines)

    @classmethod
    def page(cls, title: str, *text: str) -> str:
        """The table in Markdown, below a title and lines of text."""
        rows = [
            f"| `{env}` | {f'`{default}`' if default else ''} | {sentence} |" for env, default, sentence in cls.table()
        ]
        head = ["| variable | default | what it says |", "|---|---|---|"]
        return "\n".join([f"# {title}", "", *text, "", *head, *rows, ""])


def _shown(text: str) -> str:
    """A wrong value for the log. An URL may hold a password."""
    shown = re.sub(r"(?s)\A(\w+://)?.*@", r"\1...@", text)
    return repr(shown if len(shown) <= 100 else shown[:97] + "...")
