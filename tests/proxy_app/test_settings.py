"""The settings: each is read, and everything that is wrong is said at once, by name."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.__main__ import main
from proxy_app.setting_table import SettingsError, setting_fields
from proxy_app.setting_values import MIB, Address
from proxy_app.settings import Settings

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-1"
ALB = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mlflow/50dc6c495c0c9188"
PLAIN = {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000", "MLFLOW_PROXY_TOKENS_FILE": "tokens.json"}
SIGNED = {"MLFLOW_PROXY_TARGET_ARN": ARN, "MLFLOW_PROXY_TOKENS_FILE": "tokens.json"}
SSO = {
    **PLAIN,
    "MLFLOW_PROXY_ALB_ARN": ALB,
    "MLFLOW_PROXY_ALB_ISSUER": "https://issuer.example.com",
    "MLFLOW_PROXY_ALB_CLIENT_ID": "mlflow",
    "MLFLOW_PROXY_ROLE_RULES": "group:ml-admins=admin",
}
IAP = {
    "MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000",
    "MLFLOW_PROXY_IAP_AUDIENCE": "/projects/123456789012/apps/my-project",
    "MLFLOW_PROXY_ROLE_RULES": "domain:example.org=viewer",
}

# Variable: (text, attribute, what it becomes, what has to be set or left out beside it).
READ: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "MLFLOW_PROXY_TARGET_ARN": (ARN, "target_arn", ARN, SIGNED),
    "MLFLOW_PROXY_TARGET_ENDPOINT": ("https://a.example:8443/", "target_endpoint", "https://a.example:8443", SIGNED),
    "MLFLOW_PROXY_ASSUME_ROLE_ARN": ("arn:aws:iam::1:role/x", "assume_role_arn", "arn:aws:iam::1:role/x", SIGNED),
    "MLFLOW_PROXY_UPSTREAM_URL": ("http://[::1]:5000", "upstream_url", "http://[::1]:5000", PLAIN),
    "AWS_CA_BUNDLE": ("/etc/ca.pem", "ca_bundle", Path("/etc/ca.pem"), PLAIN),
    "MLFLOW_PROXY_LISTEN": (":8081", "listen", Address("0.0.0.0", 8081), PLAIN),
    "MLFLOW_PROXY_METRICS_LISTEN": ("[::1]:0", "metrics_listen", Address("::1", 0), PLAIN),
    "MLFLOW_PROXY_PUBLIC_URL": ("https://MLflow.example.com:443", "public_url", "https://mlflow.example.com", PLAIN),
    "MLFLOW_PROXY_ALLOWED_HOSTS": (
        "MLflow.example.com,*-dot-a.example.com , 10.0.0.1",
        "allowed_hosts",
        ("mlflow.example.com", "*-dot-a.example.com", "10.0.0.1"),
        PLAIN,
    ),
    "MLFLOW_PROXY_BODY_LIMIT_MIB": ("8", "body_limit", 8 * MIB, PLAIN),
    "MLFLOW_PROXY_BODY_BUDGET_MIB": ("64", "body_budget", 64 * MIB, PLAIN),
    "MLFLOW_PROXY_BODY_TIMEOUT_SECONDS": ("30", "body_timeout", 30.0, PLAIN),
    "MLFLOW_PROXY_MAX_CONNECTIONS": ("10", "max_connections", 10, PLAIN),
    "MLFLOW_PROXY_MAX_REQUESTS": ("11", "max_requests", 11, PLAIN),
    "MLFLOW_PROXY_HEADER_LIMIT_BYTES": ("8190", "header_limit", 8190, PLAIN),
    "MLFLOW_PROXY_CONNECT_TIMEOUT_SECONDS": ("1", "connect_timeout", 1.0, PLAIN),
    "MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS": ("1e2", "upstream_timeout", 100.0, PLAIN),
    "MLFLOW_PROXY_UPSTREAM_KEEPALIVE_SECONDS": ("0", "upstream_keepalive", 0.0, PLAIN),
    "MLFLOW_PROXY_KEEPALIVE_SECONDS": ("70", "keepalive", 70.0, PLAIN),
    "MLFLOW_PROXY_DRAIN_SECONDS": ("0", "drain", 0.0, PLAIN),
    "MLFLOW_PROXY_GRACE_SECONDS": ("600", "grace", 600.0, PLAIN),
    "MLFLOW_PROXY_AUTH": ("off", "auth", False, {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000"}),
    "MLFLOW_PROXY_TOKENS_FILE": ("other.json", "tokens_file", Path("other.json"), PLAIN),
    "MLFLOW_PROXY_TOKENS_SECRET": ("team/tokens", "tokens_secret", "team/tokens", {"MLFLOW_PROXY_TARGET_ARN": ARN}),
    "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS": ("0.5", "tokens_reload", 0.5, PLAIN),
    "MLFLOW_PROXY_ALB_ARN": (ALB, "alb_arn", ALB, SSO),
    "MLFLOW_PROXY_ALB_ISSUER": ("https://a.example/", "alb_issuer", "https://a.example/", SSO),
    "MLFLOW_PROXY_ALB_CLIENT_ID": ("other", "alb_client_id", "other", SSO),
    "MLFLOW_PROXY_ALB_KEYS_URL": ("https://a.example:8443/alb/", "alb_keys_url", "https://a.example:8443/alb", SSO),
    "MLFLOW_PROXY_ALB_GROUPS_CLAIM": ("custom:groups", "alb_groups_claim", "custom:groups", SSO),
    "MLFLOW_PROXY_IAP_AUDIENCE": (
        "/projects/1/apps/example.com:other-1",
        "iap_audience",
        "/projects/1/apps/example.com:other-1",
        IAP,
    ),
    "MLFLOW_PROXY_IAP_KEYS_URL": ("https://a.example/iap/jwk/", "iap_keys_url", "https://a.example/iap/jwk", IAP),
    "MLFLOW_PROXY_ROLE_RULES": ("domain:a.example=viewer", "role_rules", "domain:a.example=viewer", SSO),
}
NAMES = [name for name, _, _ in Settings.table()]


def value_of(settings: Settings, attribute: str) -> object:
    """A setting of the proxy's table or of an authenticator's."""
    tables = [settings, *(settings.section(table) for table in Settings.tables()[1:])]
    return next(getattr(table, attribute) for table in tables if hasattr(table, attribute))


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as wrong:
        Settings.from_env(environ)
    return str(wrong.value).splitlines()


def test_the_table_is_of_all_settings() -> None:
    assert list(READ) == NAMES
    assert [attribute for _, attribute, _, _ in READ.values()] == [
        field.name for table in Settings.tables() for field in setting_fields(table)
    ]
    for name, _, sentence in Settings.table():
        assert sentence.endswith("."), name
        assert sentence[0].isupper() or sentence.startswith(("host:port", "off:")), name


@pytest.mark.parametrize("name", READ)
def test_a_setting_is_read(name: str) -> None:
    text, attribute, value, beside = READ[name]
    settings = Settings.from_env({**beside, name: f" {text}\n"})
    found = value_of(settings, attribute)
    assert found == value
    assert type(found) is type(value)
    assert value != value_of(Settings(), attribute), "the default would pass, too"


@pytest.mark.parametrize("environ", [PLAIN, {**dict.fromkeys(NAMES, ""), **PLAIN}, {**PLAIN, "PATH": "/bin"}])
def test_what_is_not_set_or_empty_is_its_default(environ: dict[str, str]) -> None:
    assert Settings.from_env(environ) == Settings.build(
        {"upstream_url": "http://127.0.0.1:5000", "tokens_file": Path("tokens.json")}
    )


def test_the_defaults_of_the_table_are_those_of_the_code() -> None:
    told = {name: default for name, default, _ in Settings.table() if default}
    assert Settings.from_env({**told, **PLAIN}) == Settings.from_env(PLAIN)


# --- What is wrong


def test_every_problem_is_named_at_once() -> None:
    wrong = {
        "MLFLOW_PROXY_LISTEN": "8080",
        "MLFLOW_PROXY_AUTH": "yes",
        "MLFLOW_PROXY_BODY_LIMIT_MIB": "0",
        "MLFLOW_PROXY_DRAIN_SECONDS": "soon",
        "MLFLOW_PROXY_UPSTREAM_URL": "mlflow:5000",
        "MLFLOW_PROXY_LISTN": "127.0.0.1:8080",
    }
    lines = problems(wrong)
    assert len(lines) == len(wrong)
    for name in wrong:
        assert [line for line in lines if line.startswith((f"{name}:", f"{name} is"))], name


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("MLFLOW_PROXY_TARGET", "MLFLOW_PROXY_TARGET_ARN"),
        ("MLFLOW_PROXY_TOKEN_FILE", "MLFLOW_PROXY_TOKENS_FILE"),
        ("MLFLOW_PROXY_BODY_LIMIT_MB", "MLFLOW_PROXY_BODY_LIMIT_MIB"),
        ("MLFLOW_PROXY_LISTEN_", "MLFLOW_PROXY_LISTEN"),
    ],
)
def test_a_typo_is_answered_with_what_is_meant(typo: str, meant: str) -> None:
    assert problems({**PLAIN, typo: "secret-value"}) == [f"{typo} is not a setting; did you mean {meant}?"]


def test_a_name_like_no_setting_is_refused_too() -> None:
    assert problems({**PLAIN, "MLFLOW_PROXY_XYZZY": "1"}) == ["MLFLOW_PROXY_XYZZY is not a setting."]


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("MLFLOW_PROXY_LISTEN", "8080", "host:port, such as 127.0.0.1:8080"),
        ("MLFLOW_PROXY_LISTEN", "127.0.0.1:", "host:port"),
        ("MLFLOW_PROXY_LISTEN", "127.0.0.1:65536", "host:port"),
        ("MLFLOW_PROXY_METRICS_LISTEN", "127.0.0.1:-1", "host:port"),
        ("MLFLOW_PROXY_AUTH", "OFF", "on or off"),
        ("MLFLOW_PROXY_AUTH", "false", "on or off"),
        ("MLFLOW_PROXY_MAX_REQUESTS", "0", "a whole number above 0"),
        ("MLFLOW_PROXY_MAX_REQUESTS", "-1", "a whole number above 0"),
        ("MLFLOW_PROXY_MAX_CONNECTIONS", "1.5", "a whole number above 0"),
        ("MLFLOW_PROXY_BODY_LIMIT_MIB", "32M", "a whole number above 0"),
        ("MLFLOW_PROXY_GRACE_SECONDS", "25s", "a number of seconds, such as 2.5"),
        ("MLFLOW_PROXY_GRACE_SECONDS", "-1", "a number of seconds"),
        ("MLFLOW_PROXY_GRACE_SECONDS", "nan", "a number of seconds"),
        ("MLFLOW_PROXY_GRACE_SECONDS", "inf", "a number of seconds"),
        # The proxy would do these without a pause, or never have the time for them.
        ("MLFLOW_PROXY_TOKENS_RELOAD_SECONDS", "0", "a number of seconds above 0"),
        ("MLFLOW_PROXY_BODY_TIMEOUT_SECONDS", "0", "a number of seconds above 0"),
        ("MLFLOW_PROXY_CONNECT_TIMEOUT_SECONDS", "0.0", "a number of seconds above 0"),
        ("MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS", "-0", "a number of seconds above 0"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "127.0.0.1:5000", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "ftp://127.0.0.1", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "http://", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "http://[", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "http://a b", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "http://a\r\nHost: b", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "http://mlflow:0", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "http://mlflow:65536", "scheme://host[:port]"),
        ("MLFLOW_PROXY_UPSTREAM_URL", "http://mlflow/prefix", "scheme://host[:port]"),
        ("MLFLOW_PROXY_PUBLIC_URL", "https://mlflow.example.com/?", "scheme://host[:port]"),
        ("MLFLOW_PROXY_ALB_KEYS_URL", "http://keys.example.com", "an https:// URL without a query"),
        ("MLFLOW_PROXY_ALB_KEYS_URL", "https://keys.example.com/?a=b", "an https:// URL without a query"),
        ("MLFLOW_PROXY_ALB_KEYS_URL", "https://keys.example.com/a#b", "an https:// URL without a query"),
        ("MLFLOW_PROXY_ALB_KEYS_URL", "https://keys.example.com:65536", "an https:// URL without a query"),
        ("MLFLOW_PROXY_ALB_KEYS_URL", "keys.example.com", "an https:// URL without a query"),
        ("MLFLOW_PROXY_PUBLIC_URL", "https://mlflow.example.com#", "scheme://host[:port]"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "https://mlflow.example.com", "host names without ports, separated by commas"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "mlflow.example.com:8080", "host names without ports"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "mlflow.example.com,,other.example.com", "host names without ports"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "*", "host names without ports"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "*.com", "host names without ports"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "*example.com", "host names without ports"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "mlflow.*.example.com", "host names without ports"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", "**.example.com", "host names without ports"),
        ("MLFLOW_PROXY_ALLOWED_HOSTS", ".example.com", "host names without ports"),
        (
            "MLFLOW_PROXY_IAP_AUDIENCE",
            "my-project",
            "/projects/NUMBER/apps/PROJECT_ID, such as /projects/123456789012/apps/",
        ),
        ("MLFLOW_PROXY_IAP_AUDIENCE", "/projects/my-project/apps/my-project", "/projects/NUMBER/apps/PROJECT_ID"),
        ("MLFLOW_PROXY_IAP_AUDIENCE", "projects/1/apps/my-project", "/projects/NUMBER/apps/PROJECT_ID"),
        ("MLFLOW_PROXY_IAP_AUDIENCE", "/projects/1/apps/my-project/", "/projects/NUMBER/apps/PROJECT_ID"),
        ("MLFLOW_PROXY_IAP_AUDIENCE", "/projects/1/apps/My-Project", "/projects/NUMBER/apps/PROJECT_ID"),
        ("MLFLOW_PROXY_IAP_AUDIENCE", "/projects/1/apps/my", "/projects/NUMBER/apps/PROJECT_ID"),
        ("MLFLOW_PROXY_IAP_AUDIENCE", "/projects/1/global/backendServices/2", "/projects/NUMBER/apps/PROJECT_ID"),
        ("MLFLOW_PROXY_IAP_AUDIENCE", "1-x.apps.googleusercontent.com", "/projects/NUMBER/apps/PROJECT_ID"),
        ("MLFLOW_PROXY_IAP_KEYS_URL", "http://127.0.0.1/keys", "an https:// URL without a query"),
    ],
)
def test_a_value_of_the_wrong_form_is_answered_with_the_right_one(name: str, text: str, form: str) -> None:
    [line] = problems({**PLAIN, name: text})
    assert line.startswith(f"{name}: got {text!r}, expected {form}")


@pytest.mark.parametrize(
    ("written", "origin"),
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
def test_an_origin_has_one_form(written: str, origin: str) -> None:
    settings = Settings.from_env({**PLAIN, "MLFLOW_PROXY_UPSTREAM_URL": written, "MLFLOW_PROXY_PUBLIC_URL": written})
    assert (settings.upstream_url, settings.public_url) == (origin, origin)


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@mlflow", "http://:hunter2@mlflow:5000", "http://a:hunter2/@x@b/c", "me:hunter2@mlflow"]
)
def test_a_password_in_an_url_is_refused_and_not_repeated(url: str) -> None:
    [line] = problems({**PLAIN, "MLFLOW_PROXY_UPSTREAM_URL": url})
    assert line.startswith("MLFLOW_PROXY_UPSTREAM_URL: ")
    assert "hunter2" not in line


TOKENS = {"MLFLOW_PROXY_TOKENS_FILE": "tokens.json"}
HERE = {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000"}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (TOKENS, "Set one of MLFLOW_PROXY_TARGET_ARN (SageMaker) and MLFLOW_PROXY_UPSTREAM_URL (plain MLflow)."),
        (
            {**PLAIN, **SIGNED},
            "Set one of MLFLOW_PROXY_TARGET_ARN (SageMaker) and MLFLOW_PROXY_UPSTREAM_URL (plain MLflow).",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_TARGET_ENDPOINT": "https://a.example"},
            "can be used with MLFLOW_PROXY_TARGET_ARN only",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_ASSUME_ROLE_ARN": "arn:aws:iam::1:role/x"},
            "can be used with MLFLOW_PROXY_TARGET_ARN only",
        ),
        ({**SIGNED, "MLFLOW_PROXY_TARGET_ENDPOINT": "http://a.example"}, "signed requests need https://"),
        (HERE, "Set one of MLFLOW_PROXY_TOKENS_FILE and MLFLOW_PROXY_TOKENS_SECRET"),
        (
            {**PLAIN, "MLFLOW_PROXY_TOKENS_SECRET": "s"},
            "Set one of MLFLOW_PROXY_TOKENS_FILE and MLFLOW_PROXY_TOKENS_SECRET",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_AUTH": "off"},
            "MLFLOW_PROXY_AUTH=off cannot be used together with MLFLOW_PROXY_TOKENS_FILE",
        ),
        (
            {**HERE, "MLFLOW_PROXY_AUTH": "off", "MLFLOW_PROXY_TOKENS_SECRET": "s"},
            "MLFLOW_PROXY_AUTH=off cannot be used together with MLFLOW_PROXY_TOKENS_FILE",
        ),
        ({**SSO, "MLFLOW_PROXY_ALB_ISSUER": ""}, "MLFLOW_PROXY_ALB_ARN requires MLFLOW_PROXY_ALB_ISSUER."),
        ({**SSO, "MLFLOW_PROXY_ALB_CLIENT_ID": ""}, "MLFLOW_PROXY_ALB_ARN requires MLFLOW_PROXY_ALB_CLIENT_ID."),
        ({**SSO, "MLFLOW_PROXY_ROLE_RULES": ""}, "MLFLOW_PROXY_ALB_ARN requires MLFLOW_PROXY_ROLE_RULES"),
        (
            {**PLAIN, "MLFLOW_PROXY_ALB_ARN": ALB},
            "MLFLOW_PROXY_ALB_ARN requires MLFLOW_PROXY_ALB_ISSUER and MLFLOW_PROXY_ALB_CLIENT_ID."
            "|MLFLOW_PROXY_ALB_ARN requires MLFLOW_PROXY_ROLE_RULES",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_ROLE_RULES": "group:a=admin"},
            "MLFLOW_PROXY_ROLE_RULES has no effect without MLFLOW_PROXY_ALB_ARN or MLFLOW_PROXY_IAP_AUDIENCE",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_ALB_KEYS_URL": "https://a.example"},
            "MLFLOW_PROXY_ALB_KEYS_URL has no effect without MLFLOW_PROXY_ALB_ARN",
        ),
        (
            {**SSO, "MLFLOW_PROXY_ALB_ARN": ""},
            "MLFLOW_PROXY_ALB_ISSUER, MLFLOW_PROXY_ALB_CLIENT_ID have no effect without MLFLOW_PROXY_ALB_ARN"
            "|MLFLOW_PROXY_ROLE_RULES has no effect",
        ),
        (
            {**SSO, **HERE, "MLFLOW_PROXY_TOKENS_FILE": "", "MLFLOW_PROXY_AUTH": "off"},
            "MLFLOW_PROXY_AUTH=off cannot be used together with MLFLOW_PROXY_ALB_ARN",
        ),
        ({**IAP, "MLFLOW_PROXY_ROLE_RULES": ""}, "MLFLOW_PROXY_IAP_AUDIENCE requires MLFLOW_PROXY_ROLE_RULES"),
        (
            {**PLAIN, "MLFLOW_PROXY_IAP_KEYS_URL": "https://a.example"},
            "MLFLOW_PROXY_IAP_KEYS_URL has no effect without MLFLOW_PROXY_IAP_AUDIENCE",
        ),
        (
            {**IAP, "MLFLOW_PROXY_ALB_ISSUER": "https://a.example"},
            "MLFLOW_PROXY_ALB_ISSUER has no effect without MLFLOW_PROXY_ALB_ARN",
        ),
        (
            {**IAP, "MLFLOW_PROXY_TOKENS_FILE": "tokens.json"},
            "MLFLOW_PROXY_IAP_AUDIENCE cannot be used together with MLFLOW_PROXY_TOKENS_FILE",
        ),
        (
            {**IAP, "MLFLOW_PROXY_TOKENS_SECRET": "team/tokens"},
            "which reads the Authorization header itself",
        ),
        (
            {**IAP, "MLFLOW_PROXY_AUTH": "off"},
            "MLFLOW_PROXY_AUTH=off cannot be used together with MLFLOW_PROXY_IAP_AUDIENCE"
            "|MLFLOW_PROXY_IAP_AUDIENCE cannot be used together with MLFLOW_PROXY_AUTH=off",
        ),
        (
            {**IAP, "MLFLOW_PROXY_UPSTREAM_URL": "", "MLFLOW_PROXY_TARGET_ARN": ARN},
            "MLFLOW_PROXY_IAP_AUDIENCE can be used with MLFLOW_PROXY_UPSTREAM_URL only.",
        ),
        (
            {**SSO, **IAP, "MLFLOW_PROXY_TOKENS_FILE": ""},
            "MLFLOW_PROXY_IAP_AUDIENCE cannot be used together with MLFLOW_PROXY_ALB_ARN",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_BODY_LIMIT_MIB": "200"},
            "MLFLOW_PROXY_BODY_BUDGET_MIB must be at least MLFLOW_PROXY_BODY_LIMIT_MIB",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_GRACE_SECONDS": "4.9"},
            "MLFLOW_PROXY_GRACE_SECONDS must be at least MLFLOW_PROXY_DRAIN_SECONDS",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], words: str) -> None:
    lines, expected = problems(environ), words.split("|")
    assert len(lines) == len(expected), lines
    for line, part in zip(lines, expected, strict=True):
        assert part in line


def test_contradictions_are_named_at_once_too() -> None:
    environ = {
        "MLFLOW_PROXY_AUTH": "off",
        "MLFLOW_PROXY_LISTEN": ":8080",
        "MLFLOW_PROXY_BODY_LIMIT_MIB": "999",
        "MLFLOW_PROXY_DRAIN_SECONDS": "99",
    }
    assert len(problems(environ)) == 4


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", ":8080", "[::]:8080", "10.0.0.1:8080", "mlflow.example.com:8080"])
def test_authentication_is_off_on_loopback_only(listen: str) -> None:
    [line] = problems({**HERE, "MLFLOW_PROXY_AUTH": "off", "MLFLOW_PROXY_LISTEN": listen})
    assert "would make every client that reaches" in line
    assert str(Settings.from_env({**PLAIN, "MLFLOW_PROXY_LISTEN": listen}).listen) in line


def test_identity_aware_proxy_is_authentication_enough_to_listen_anywhere() -> None:
    settings = Settings.from_env({**IAP, "MLFLOW_PROXY_LISTEN": ":8080", "MLFLOW_PROXY_AUTH": "on"})
    assert str(settings.listen) == "0.0.0.0:8080"
    assert (value_of(settings, "auth"), value_of(settings, "tokens_file")) == (True, None)


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "[::1]:8080", "localhost:0"])
def test_authentication_may_be_off_on_loopback(listen: str) -> None:
    settings = Settings.from_env({**HERE, "MLFLOW_PROXY_AUTH": "off", "MLFLOW_PROXY_LISTEN": listen})
    assert value_of(settings, "auth") is False


# Text that an environment variable can hold, and values that come close to right ones.
VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    st.from_regex(r"[0-9.:eE+\-_]{1,8}", fullmatch=True),
    st.from_regex(r"https?://[a-zA-Z0-9\[\]@:./?#-]{0,12}", fullmatch=True),
    st.from_regex(r"[a-z0-9.\[\]:]{0,8}:[0-9]{1,6}", fullmatch=True),
)


@given(st.sampled_from(NAMES), VALUES)
def test_any_value_is_taken_or_refused_by_name(name: str, value: str) -> None:
    refused: list[str] = []
    try:
        beside = READ[name][3]
        Settings.from_env(
            {**(beside if beside in (SIGNED, SSO) or (beside is IAP and value.strip()) else PLAIN), name: value}
        )
    except SettingsError as error:
        refused = str(error).splitlines() or ["nothing"]
    assert all(name in line for line in refused)


# --- What is shown


def test_the_help_names_every_setting_with_its_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["proxy", "--help"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().out
    text = " ".join(told.split())
    for name, default, sentence in Settings.table():
        assert (f"{name} {sentence} [{default}]" if default else f"{name} {sentence}") in text
    assert max(map(len, told.splitlines())) <= 100


def test_wrong_settings_end_the_start_with_a_sentence_and_no_traceback() -> None:
    run = subprocess.run(
        [sys.executable, "-B", "-m", "proxy_app"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "MLFLOW_PROXY_LISTN": "127.0.0.1:0", "MLFLOW_PROXY_AUTH": "maybe"},
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.splitlines() == [
        "The proxy cannot start.",
        "MLFLOW_PROXY_LISTN is not a setting; did you mean MLFLOW_PROXY_LISTEN?",
        "MLFLOW_PROXY_AUTH: got 'maybe', expected on or off.",
        "Set one of MLFLOW_PROXY_TARGET_ARN (SageMaker) and MLFLOW_PROXY_UPSTREAM_URL (plain MLflow).",
    ]
