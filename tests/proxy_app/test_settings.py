"""Settings: how each is read, defaults, help, and the error output of the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.__main__ import main
from proxy_app.setting_table import SettingsError, setting_fields
from proxy_app.settings import Settings

from .setting_examples import EXAMPLES, IAP, NAMES, PLAIN, SIGNED, SSO, value_of


def test_examples_cover_all_settings_and_descriptions_are_sentences() -> None:
    assert list(EXAMPLES) == NAMES
    assert [attribute for _, attribute, _, _ in EXAMPLES.values()] == [
        field.name for table in Settings.tables() for field in setting_fields(table)
    ]
    for name, _, description in Settings.table():
        assert description.endswith("."), name
        assert description[0].isupper() or description.startswith(("host:port", "off:")), name


@pytest.mark.parametrize("name", EXAMPLES)
def test_setting_is_parsed(name: str) -> None:
    text, attribute, value, required = EXAMPLES[name]
    settings = Settings.from_env({**required, name: f" {text}\n"})
    parsed = value_of(settings, attribute)
    assert parsed == value
    assert type(parsed) is type(value)
    assert value != value_of(Settings(), attribute), "the example is the default"


@pytest.mark.parametrize("environ", [PLAIN, {**dict.fromkeys(NAMES, ""), **PLAIN}, {**PLAIN, "PATH": "/bin"}])
def test_missing_or_empty_variable_is_the_default(environ: dict[str, str]) -> None:
    assert Settings.from_env(environ) == Settings.build(
        {"upstream_url": "http://127.0.0.1:5000", "tokens_file": Path("tokens.json")}
    )


def test_documented_defaults_are_the_actual_ones() -> None:
    defaults = {name: default for name, default, _ in Settings.table() if default}
    assert Settings.from_env({**defaults, **PLAIN}) == Settings.from_env(PLAIN)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("HTTPS://MLflow.Example.com", "https://mlflow.example.com"),
        ("http://mlflow:80", "http://mlflow"),
        ("https://mlflow:443/", "https://mlflow"),
        ("https://mlflow:80", "https://mlflow:80"),
        ("http://my_service:5000", "http://my_service:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_origin_is_normalized(url: str, origin: str) -> None:
    settings = Settings.from_env({**PLAIN, "MLFLOW_PROXY_UPSTREAM_URL": url, "MLFLOW_PROXY_PUBLIC_URL": url})
    assert (settings.upstream_url, settings.public_url) == (origin, origin)


# Text that an environment variable can hold, and values that are almost valid.
VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    st.from_regex(r"[0-9.:eE+\-_]{1,8}", fullmatch=True),
    st.from_regex(r"https?://[a-zA-Z0-9\[\]@:./?#-]{0,12}", fullmatch=True),
    st.from_regex(r"[a-z0-9.\[\]:]{0,8}:[0-9]{1,6}", fullmatch=True),
)


@given(st.sampled_from(NAMES), VALUES)
def test_any_value_is_parsed_or_rejected_by_name(name: str, value: str) -> None:
    required = EXAMPLES[name][3]
    # An empty IAP setting would leave the other settings of IAP without effect.
    others = required if required in (SIGNED, SSO) or (required is IAP and value.strip()) else PLAIN
    problems: list[str] = []
    try:
        Settings.from_env({**others, name: value})
    except SettingsError as error:
        problems = str(error).splitlines() or ["an empty message"]
    assert all(name in line for line in problems)


# --- Output


def test_help_lists_every_setting_with_its_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["proxy", "--help"])
    with pytest.raises(SystemExit):
        main()
    output = capsys.readouterr().out
    text = " ".join(output.split())
    for name, default, description in Settings.table():
        assert (f"{name} {description} [{default}]" if default else f"{name} {description}") in text
    assert max(map(len, output.splitlines())) <= 100


def test_process_with_invalid_settings_exits_with_one_message_without_a_traceback() -> None:
    completed = subprocess.run(
        [sys.executable, "-B", "-m", "proxy_app"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": os.environ["PATH"], "MLFLOW_PROXY_LISTN": "127.0.0.1:0", "MLFLOW_PROXY_AUTH": "maybe"},
    )
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.splitlines() == [
        "The proxy cannot start.",
        "MLFLOW_PROXY_LISTN is not a setting; did you mean MLFLOW_PROXY_LISTEN?",
        "MLFLOW_PROXY_AUTH: got 'maybe', expected on or off.",
        "Set one of MLFLOW_PROXY_TARGET_ARN (SageMaker) and MLFLOW_PROXY_UPSTREAM_URL (plain MLflow).",
    ]
