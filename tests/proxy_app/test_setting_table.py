"""Tables of settings: reading them, their problems, and their documentation."""

import dataclasses
from collections.abc import Iterable

import pytest

from proxy_app.setting_table import (
    Problem,
    SettingsError,
    SettingTable,
    help_text,
    read_tables,
    setting,
    settings_page,
)
from proxy_app.setting_values import count, on_off


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits(SettingTable):
    """A table with a conflict."""

    title = "Limits"
    prefix = "APP_"

    low: int = setting("APP_LOW", "1", "Lower limit.", count)
    high: int = setting("APP_HIGH", "10", "Upper limit.", count)
    key: str = setting("APP_KEY", "", "Key.", secret=True)

    def conflicts(self) -> Iterable[Problem]:
        if self.low > self.high:
            yield ("APP_LOW", "APP_HIGH"), "APP_LOW must be at most APP_HIGH."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Untitled(SettingTable):
    """A table without title and conflicts."""

    prefix = "APP_"

    debug: bool = setting("APP_DEBUG", "off", "Write debug messages.", on_off)


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Limits.from_env(environ)
    return str(caught.value).splitlines()


def test_defaults_apply_to_unset_and_empty_variables() -> None:
    assert Limits.from_env({}) == Limits.from_env({"APP_LOW": " ", "APP_KEY": ""}) == Limits(low=1, high=10, key="")
    assert Untitled.from_env({"OTHER": "1"}) == Untitled(debug=False)


def test_values_are_parsed_and_stripped_except_secrets() -> None:
    assert Limits.from_env({"APP_LOW": " 2\n", "APP_KEY": " k "}) == Limits(low=2, high=10, key=" k ")


def test_secret_is_not_in_the_repr() -> None:
    assert "k3y" not in repr(Limits(key="k3y"))


def test_all_problems_are_reported_together() -> None:
    assert problems_of({"APP_LOW": "0", "APP_HIGH": "many", "APP_HIHG": "1"}) == [
        "APP_HIHG is not a setting; did you mean APP_HIGH?",
        "APP_LOW: got '0', expected a whole number above 0.",
        "APP_HIGH: got 'many', expected a whole number above 0.",
    ]


def test_unknown_variable_without_a_similar_name_has_no_suggestion() -> None:
    assert problems_of({"APP_XYZZY": "1"}) == ["APP_XYZZY is not a setting."]


def test_conflict_is_reported_for_valid_values() -> None:
    assert problems_of({"APP_LOW": "11"}) == ["APP_LOW must be at most APP_HIGH."]


@pytest.mark.parametrize("wrong", [{"APP_HIGH": "many"}, {"APP_HIHG": "20"}], ids=["invalid value", "misspelled name"])
def test_conflict_that_another_problem_may_cause_is_not_reported(wrong: dict[str, str]) -> None:
    assert not [line for line in problems_of({"APP_LOW": "11", **wrong}) if "at most" in line]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:secret@example.com/x", "'https://...@example.com/x'"),
        ("ann:se@cret@example.com", "'...@example.com'"),
        ("x" * 101, repr("x" * 97 + "...")),
    ],
)
def test_invalid_value_is_shown_without_a_password_and_shortened(text: str, shown: str) -> None:
    assert problems_of({"APP_LOW": text}) == [f"APP_LOW: got {shown}, expected a whole number above 0."]


def test_several_tables_are_read_together() -> None:
    read = read_tables({"APP_DEBUG": "on", "APP_LOW": "3"}, [Limits, Untitled], "APP_")
    read.raise_problems(())
    assert read.values == {Limits: {"low": 3}, Untitled: {"debug": True}}


def test_table_lists_every_setting_in_order() -> None:
    assert Limits.names() == ["APP_LOW", "APP_HIGH", "APP_KEY"]
    assert Untitled.table() == [("APP_DEBUG", "off", "Write debug messages.")]


def test_help_text_shows_description_and_default_within_80_columns() -> None:
    text = help_text([Limits, Untitled])
    assert text.splitlines()[1:5] == ["  APP_LOW", "      Lower limit. [1]", "  APP_HIGH", "      Upper limit. [10]"]
    assert "      Key.\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_settings_page_is_markdown_with_a_section_for_each_title() -> None:
    assert settings_page("Settings", ["Introduction."], [Untitled, Limits]) == (
        "# Settings\n"
        "\n"
        "Introduction.\n"
        "\n"
        "| variable | default | description |\n"
        "|---|---|---|\n"
        "| `APP_DEBUG` | `off` | Write debug messages. |\n"
        "\n"
        "## Limits\n"
        "\n"
        "| variable | default | description |\n"
        "|---|---|---|\n"
        "| `APP_LOW` | `1` | Lower limit. |\n"
        "| `APP_HIGH` | `10` | Upper limit. |\n"
        "| `APP_KEY` |  | Key. |\n"
    )
