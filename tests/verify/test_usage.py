"""What the command takes, and what it says to somebody who gave it something else."""

import os
import re

import pytest

from tests.verify.conftest import Verify
from verify.target import Target, UsageError, prepare_environment, read_target

URL = "https://mlflow.example.com"


def target(*arguments: str, **environ: str) -> Target:
    return read_target(arguments, {"URL": URL, "TOKEN": "abc", **environ})


def test_the_flag_wins_over_url_and_url_over_mlflows_own_variable() -> None:
    environ = {"URL": "http://b", "MLFLOW_TRACKING_URI": "http://c", "TOKEN": "t", "MLFLOW_TRACKING_TOKEN": "u"}
    assert read_target(["--url", "http://a"], environ).url == "http://a"
    assert read_target([], environ).url == "http://b"
    assert read_target([], environ).token == "t"
    del environ["URL"], environ["TOKEN"]
    assert read_target([], environ).url == "http://c"
    assert read_target([], environ).token == "u"


def test_a_path_prefix_stays_and_a_trailing_slash_goes() -> None:
    assert target(URL=f" {URL}:8443/team/mlflow/ ").url == f"{URL}:8443/team/mlflow"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "Which deployment"),
        ("localhost:8080", "Is http://localhost:8080 meant?"),
        ("mlflow.example.com", "is not the address of a deployment"),
        ("ftp://mlflow.example.com", "is not the address of a deployment"),
        ("http://", "is not the address of a deployment"),
        ("http://host:99999", "is not the address of a deployment"),
        ("http://[::1", "is not the address of a deployment"),
        ("https://two words", "is not the address of a deployment"),
        ("sqlite:///mlflow.db", "is not the address of a deployment"),
        ("https://mlflow.example.com/#/experiments/1", "a page of MLflow's UI"),
        ("https://mlflow.example.com/?x=1", "a page of MLflow's UI"),
    ],
)
def test_a_wrong_url_is_named_with_what_is_right(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        target(URL=url)


@pytest.mark.parametrize("typed", ["url=http://x token=secret-one", "Token=secret-one", "PORT=1 url=http://x"])
def test_a_variable_of_make_that_is_not_in_capitals_is_named(typed: str) -> None:
    """Even where MLflow's own variables would do: they name another deployment."""
    environ = {"MAKEFLAGS": f" -- {typed}", "MLFLOW_TRACKING_URI": URL, "MLFLOW_TRACKING_TOKEN": "abc"}
    with pytest.raises(UsageError, match=r"^(url|Token)=\.\.\. is written in capitals: make verify URL=") as raised:
        read_target([], environ)
    assert "secret-one" not in str(raised.value)
    assert read_target([], {**environ, "MAKEFLAGS": "s -j2 -- URL=x TOKEN=y PORT=1"}).token == "abc"


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="user name or password") as raised:
        target(URL="https://me:hunter2@mlflow.example.com")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("token", ["", "Bearer abc", "abc def", "abc\ndef", "abc\u2026"])
def test_a_token_that_cannot_be_one_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(UsageError, match=r"token|Bearer") as raised:
        target(TOKEN=token)
    assert "def" not in str(raised.value)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "4000"])
def test_a_timeout_is_a_number_of_seconds_that_can_pass(seconds: str) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        target("--timeout", seconds)


@pytest.mark.parametrize(
    ("url", "exposes"),
    [
        ("http://mlflow.example.com", True),
        ("https://mlflow.example.com", False),
        ("http://localhost:8080", False),
        ("http://127.0.0.1:8080", False),
        ("http://[::1]:8080", False),
    ],
)
def test_only_plain_http_beyond_this_machine_exposes_the_token(url: str, *, exposes: bool) -> None:
    assert target(URL=url).exposes_token is exposes


def test_the_token_is_not_in_what_a_traceback_shows() -> None:
    assert "abc" not in repr(target())


def test_only_the_target_decides_what_is_tried() -> None:
    environ = {
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_WORKSPACE": "team",
        "DATABRICKS_HOST": "https://elsewhere",
        "MLFLOW_S3_ENDPOINT_URL": "http://s3",
        "AWS_PROFILE": "work",
        "SSL_CERT_FILE": "/ca.pem",
        "NETRC": "/home/me/.netrc",
    }
    prepare_environment(target(), environ)
    assert not {"MLFLOW_TRACKING_USERNAME", "MLFLOW_WORKSPACE", "DATABRICKS_HOST"} & environ.keys()
    assert environ["MLFLOW_S3_ENDPOINT_URL"] == "http://s3"
    assert environ["AWS_PROFILE"] == "work"
    assert environ["REQUESTS_CA_BUNDLE"] == "/ca.pem"
    assert environ["NETRC"] == os.devnull
    assert environ["MLFLOW_DISABLE_TELEMETRY"] == environ["DO_NOT_TRACK"] == "true"
    assert environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert (environ["MLFLOW_TRACKING_URI"], environ["MLFLOW_TRACKING_TOKEN"]) == (URL, "abc")


def test_wrong_usage_ends_with_2_and_one_sentence(verify: Verify) -> None:
    ended = verify(URL="localhost:8080", TOKEN="abc")
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1


def test_a_token_on_the_command_line_is_refused_and_not_repeated(verify: Verify) -> None:
    for arguments in (["--token", "secret-one"], ["--token=secret-one"]):
        ended = verify(*arguments, URL=URL)
        assert ended.code == 2
        assert "in the environment" in ended.err
        assert "secret-one" not in ended.out + ended.err


def test_help_says_the_role_and_the_exit_codes(verify: Verify) -> None:
    ended = verify("--help")
    assert ended.code == 0
    assert "role must be admin" in " ".join(ended.out.split())
    assert "0 all steps passed, 1 a step failed, 2 wrong usage" in ended.out


def test_a_token_goes_only_where_it_belongs(verify: Verify) -> None:
    ended = verify(
        URL="http://127.0.0.1:1", MLFLOW_TRACKING_URI="http://127.0.0.1:2", MLFLOW_TRACKING_TOKEN="mlp_secret"
    )
    assert ended.code == 2
    assert "give that one's token as TOKEN=" in ended.err
