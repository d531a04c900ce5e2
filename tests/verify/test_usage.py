"""Arguments and environment of the command, and errors for invalid ones."""

import os
import re

import pytest

from tests.verify.conftest import Verify
from verify.target import Target, UsageError, prepare_environment, read_target

URL = "https://mlflow.example.com"


def target(*arguments: str, **environ: str) -> Target:
    return read_target(arguments, {"URL": URL, "TOKEN": "abc", **environ})


def test_precedence_of_flag_url_and_mlflow_variables() -> None:
    environ = {"URL": "http://b", "MLFLOW_TRACKING_URI": "http://c", "TOKEN": "t", "MLFLOW_TRACKING_TOKEN": "u"}
    assert read_target(["--url", "http://a"], environ).url == "http://a"
    assert read_target([], environ).url == "http://b"
    assert read_target([], environ).token == "t"
    del environ["URL"], environ["TOKEN"]
    assert read_target([], environ).url == "http://c"
    assert read_target([], environ).token == "u"


def test_path_prefix_is_preserved_without_trailing_slash() -> None:
    assert target(URL=f" {URL}:8443/team/mlflow/ ").url == f"{URL}:8443/team/mlflow"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "The URL is missing"),
        ("localhost:8080", "Did you mean http://localhost:8080?"),
        ("mlflow.example.com", "expected the URL of a deployment"),
        ("ftp://mlflow.example.com", "expected the URL of a deployment"),
        ("http://", "expected the URL of a deployment"),
        ("http://host:99999", "expected the URL of a deployment"),
        ("http://[::1", "expected the URL of a deployment"),
        ("https://two words", "expected the URL of a deployment"),
        ("sqlite:///mlflow.db", "expected the URL of a deployment"),
        ("https://mlflow.example.com/#/experiments/1", "a page of MLflow's UI"),
        ("https://mlflow.example.com/?x=1", "a page of MLflow's UI"),
    ],
)
def test_invalid_url_is_rejected(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        target(URL=url)


@pytest.mark.parametrize("overrides", ["url=http://x token=secret-one", "Token=secret-one", "PORT=1 url=http://x"])
def test_lower_case_make_variable_is_rejected(overrides: str) -> None:
    """Even if MLflow's variables are set: they may be for another deployment."""
    environ = {"MAKEFLAGS": f" -- {overrides}", "MLFLOW_TRACKING_URI": URL, "MLFLOW_TRACKING_TOKEN": "abc"}
    with pytest.raises(UsageError, match=r"^(url|Token)=\.\.\. must be upper case: make verify URL=") as raised:
        read_target([], environ)
    assert "secret-one" not in str(raised.value)
    assert read_target([], {**environ, "MAKEFLAGS": "s -j2 -- URL=x TOKEN=y PORT=1"}).token == "abc"


def test_password_in_url_is_rejected_and_not_printed() -> None:
    with pytest.raises(UsageError, match="user name or password") as raised:
        target(URL="https://me:hunter2@mlflow.example.com")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("token", ["", "Bearer abc", "abc def", "abc\ndef", "abc\u2026"])
def test_malformed_token_is_rejected_and_not_printed(token: str) -> None:
    with pytest.raises(UsageError, match=r"token|Bearer") as raised:
        target(TOKEN=token)
    assert "def" not in str(raised.value)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "4000"])
def test_timeout_out_of_range_is_rejected(seconds: str) -> None:
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
def test_http_to_remote_host_exposes_token(url: str, *, exposes: bool) -> None:
    assert target(URL=url).exposes_token is exposes


def test_token_is_not_in_repr() -> None:
    assert "abc" not in repr(target())


def test_environment_is_reduced_to_the_target() -> None:
    environ = {
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_WORKSPACE": "team",
        "DATABRICKS_HOST": "https://other",
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


def test_invalid_usage_exits_with_2_and_a_single_line(verify: Verify) -> None:
    completed = verify(URL="localhost:8080", TOKEN="abc")
    assert completed.code == 2
    assert completed.out == ""
    assert len(completed.err.splitlines()) == 1


def test_token_flag_is_rejected_and_not_printed(verify: Verify) -> None:
    for arguments in (["--token", "secret-one"], ["--token=secret-one"]):
        completed = verify(*arguments, URL=URL)
        assert completed.code == 2
        assert "in the environment" in completed.err
        assert "secret-one" not in completed.out + completed.err


def test_help_shows_role_and_exit_codes(verify: Verify) -> None:
    completed = verify("--help")
    assert completed.code == 0
    assert "role must be admin" in " ".join(completed.out.split())
    assert "0 all steps passed, 1 a step failed, 2 invalid usage" in completed.out


def test_mlflow_token_is_not_sent_to_another_url(verify: Verify) -> None:
    completed = verify(
        URL="http://127.0.0.1:1", MLFLOW_TRACKING_URI="http://127.0.0.1:2", MLFLOW_TRACKING_TOKEN="mlp_secret"
    )
    assert completed.code == 2
    assert "set the token of that deployment with TOKEN=" in completed.err
