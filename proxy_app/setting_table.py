"""Settings from environment variables; each has a default and a description, from which the documentation is made."""

import dataclasses
import difflib
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

Problem = tuple[tuple[str, ...], str]
"""(environment variables that are affected, description)"""


class SettingsError(Exception):
    """One or more settings are invalid; the message has a line for each."""


def setting(
    env: str, default: str, description: str, parse: Callable[[str], Any] = str, *, secret: bool = False
) -> Any:
    """A field of a SettingTable: environment variable, default as text, description.

    ``parse`` converts the text and raises ValueError with the expected form. ``secret``: the value is not in the repr
    and is not stripped.
    """
    return dataclasses.field(
        default_factory=lambda: parse(default),
        metadata={"env": env, "default": default, "description": description, "parse": parse, "secret": secret},
        repr=not secret,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SettingTable:
    """Base of a dataclass whose fields are settings, in the order of the docs. ``title`` is its heading there."""

    title: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    """Any other variable with this prefix is an error."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises SettingsError with a line for every invalid one."""
        read = read_tables(environ, [cls], cls.prefix)
        settings = cls(**read.values[cls])
        read.raise_problems(settings.conflicts())
        return settings

    def conflicts(self) -> Iterable[Problem]:
        """The problems between settings whose values are valid by themselves."""
        return ()

    @classmethod
    def names(cls) -> list[str]:
        """The environment variables, in the order of the fields."""
        return [field.metadata["env"] for field in setting_fields(cls)]

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """(environment variable, default, description) of every setting, in the order of the fields."""
        return rows(cls)


def rows(table: type[SettingTable]) -> list[tuple[str, str, str]]:
    """(environment variable, default, description) of each setting of one table."""
    return [
        (field.metadata["env"], field.metadata["default"], field.metadata["description"])
        for field in setting_fields(table)
    ]


def setting_fields(table: type[SettingTable]) -> list[dataclasses.Field[Any]]:
    """The dataclass fields of a table that were made by ``setting``."""
    return [field for field in dataclasses.fields(table) if "env" in field.metadata]


@dataclasses.dataclass(frozen=True, slots=True)
class TableValues:
    """The result of reading: values by table and field, problems, and the variables with an invalid value."""

    values: Mapping[type[SettingTable], dict[str, Any]]
    problems: list[str]
    wrong: set[str]

    def raise_problems(self, conflicts: Iterable[Problem]) -> None:
        """Raise SettingsError if there are problems or conflicts.

        A conflict about a variable with an invalid value is left out: the invalid value may be its cause.
        """
        problems = self.problems + [text for about, text in conflicts if not self.wrong.intersection(about)]
        if problems:
            raise SettingsError("\n".join(dict.fromkeys(problems)))


def read_tables(environ: Mapping[str, str], tables: Sequence[type[SettingTable]], prefix: str) -> TableValues:
    """Parse the variables of all tables; an empty one counts as not set.

    Any other variable that begins with ``prefix`` is a problem.
    """
    fields = {field.metadata["env"]: (table, field) for table in tables for field in setting_fields(table)}
    values: dict[type[SettingTable], dict[str, Any]] = {table: {} for table in tables}
    problems: list[str] = []
    wrong: set[str] = set()
    # Compared without the prefix, which would make any two names similar.
    short = {name.removeprefix(prefix): name for name in fields}
    for name in sorted(environ):
        if name.startswith(prefix) and name not in fields:
            close = [short[match] for match in difflib.get_close_matches(name.removeprefix(prefix), short, 1)]
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
    """The tables as plain text of at most 76 columns, for a terminal."""
    lines = ["settings (environment variables; empty means the default):"]
    for table in tables:
        for name, default, description in rows(table):
            shown = f"{description} [{default}]" if default else description
            lines.append(f"  {name}")
            lines.extend(textwrap.wrap(shown, 76, initial_indent="      ", subsequent_indent="      "))
    return "\n".join(lines)


def settings_page(title: str, introduction: Sequence[str], tables: Sequence[type[SettingTable]]) -> str:
    """A page in Markdown: title, introduction, and each table below its title."""
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
    """An invalid value for an error message: at most 100 characters, without the user and password of a URL."""
    shown = re.sub(r"(?s)\A(\w+://)?.*@", r"\1...@", text)
    return repr(shown if len(shown) <= 100 else shown[:97] + "...")
