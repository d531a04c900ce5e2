"""Settings from environment variables: each has a default and a description, which also make its documentation."""

import dataclasses
import difflib
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

Problem = tuple[tuple[str, ...], str]
"""(variables that it is about, what is wrong)"""


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


def setting(
    env: str, default: str, description: str, parse: Callable[[str], Any] = str, *, secret: bool = False
) -> Any:
    """A field of a SettingTable. ``parse`` raises ValueError with the expected form."""
    return dataclasses.field(
        default_factory=lambda: parse(default),
        metadata={"env": env, "default": default, "description": description, "parse": parse, "secret": secret},
        repr=not secret,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SettingTable:
    """Base of a dataclass whose fields are settings, in reading order. ``title`` is its heading in the docs."""

    title: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    """Any other variable that begins like this is an error."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. SettingsError names every wrong one."""
        read = read_tables(environ, [cls], cls.prefix)
        settings = cls(**read.values[cls])
        read.raise_problems(settings.conflicts())
        return settings

    def conflicts(self) -> Iterable[Problem]:
        """What is wrong between settings that are right one by one."""
        return ()

    @classmethod
    def names(cls) -> list[str]:
        """The environment variables, in reading order."""
        return [field.metadata["env"] for field in setting_fields(cls)]

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """(environment variable, default, description) of every setting, in reading order."""
        return rows(cls)


def rows(table: type[SettingTable]) -> list[tuple[str, str, str]]:
    """(environment variable, default, description) of each setting of one table."""
    return [
        (field.metadata["env"], field.metadata["default"], field.metadata["description"])
        for field in setting_fields(table)
    ]


def setting_fields(table: type[SettingTable]) -> list[dataclasses.Field[Any]]:
    """The fields of a table that are settings."""
    return [field for field in dataclasses.fields(table) if "env" in field.metadata]


@dataclasses.dataclass(frozen=True, slots=True)
class TableValues:
    """What was read for each table, by field; what is wrong, and which variables are affected."""

    values: Mapping[type[SettingTable], dict[str, Any]]
    problems: list[str]
    wrong: set[str]

    def raise_problems(self, conflicts: Iterable[Problem]) -> None:
        """Raise SettingsError if anything is wrong; a conflict that a wrong value may explain is left out."""
        problems = self.problems + [text for about, text in conflicts if not self.wrong.intersection(about)]
        if problems:
            raise SettingsError("\n".join(dict.fromkeys(problems)))


def read_tables(environ: Mapping[str, str], tables: Sequence[type[SettingTable]], prefix: str) -> TableValues:
    """Parse the variables of all tables; empty ones count as not set."""
    fields = {field.metadata["env"]: (table, field) for table in tables for field in setting_fields(table)}
    values: dict[type[SettingTable], dict[str, Any]] = {table: {} for table in tables}
    problems: list[str] = []
    wrong: set[str] = set()
    # Compared without the prefix, which makes any two names alike.
    short = {name.removeprefix(prefix): name for name in fields}
    for name in sorted(environ):
        if name.startswith(prefix) and name not in fields:
            close = [short[one] for one in difflib.get_close_matches(name.removeprefix(prefix), short, 1)]
            wrong.update(close)
            problems.append(f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "."))
    for name, (table, field) in fields.items():
        # A secret may begin or end with spaces.
        text = environ.get(name, "") if field.metadata["secret"] else environ.get(name, "").strip()
        if not text:
            continue
        try:
            values[table][field.name] = cast("Callable[[str], Any]", field.metadata["parse"])(text)
        except ValueError as error:
            wrong.add(name)
            problems.append(f"{name}: got {_shown(text)}, expected {error}.")
    return TableValues(values, problems, wrong)


def help_text(tables: Sequence[type[SettingTable]]) -> str:
    """The tables for a terminal."""
    lines = ["settings (environment variables; empty means the default):"]
    for table in tables:
        for name, default, description in rows(table):
            shown = f"{description} [{default}]" if default else description
            lines.append(f"  {name}")
            lines.extend(textwrap.wrap(shown, 76, initial_indent="      ", subsequent_indent="      "))
    return "\n".join(lines)


def settings_page(title: str, introduction: Sequence[str], tables: Sequence[type[SettingTable]]) -> str:
    """The tables in Markdown, each below its title."""
    lines = [f"# {title}", "", *introduction, ""]
    for table in tables:
        if table.title:
            lines += [f"## {table.title}", ""]
        lines += ["| variable | default | description |", "|---|---|---|"]
        lines += [
            f"| `{env}` | {f'`{default}`' if default else ''} | {description} |"
            for env, default, description in rows(table)
        ]
        lines.append("")
    return "\n".join(lines)


def _shown(text: str) -> str:
    """A wrong value for a message. A URL may hold a password."""
    shown = re.sub(r"(?s)\A(\w+://)?.*@", r"\1...@", text)
    return repr(shown if len(shown) <= 100 else shown[:97] + "...")
