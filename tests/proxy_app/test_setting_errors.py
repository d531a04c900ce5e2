"""Invalid settings: unknown names, invalid values, and settings that exclude or require each other."""

import pytest

from proxy_app.settings import Settings

from .setting_examples import ALB, ARN, IAP, PLAIN, SIGNED, SSO, problems, value_of

# --- Names and values


def test_all_problems_are_reported_together() -> None:
    invalid = {
        "MLFLOW_PROXY_LISTEN": "8080",
        "MLFLOW_PROXY_AUTH": "yes",
        "MLFLOW_PROXY_BODY_LIMIT_MIB": "0",
        "MLFLOW_PROXY_DRAIN_SECONDS": "soon",
        "MLFLOW_PROXY_UPSTREAM_URL": "mlflow:5000",
        "MLFLOW_PROXY_LISTN": "127.0.0.1:8080",
    }
    lines = problems(invalid)
    assert len(lines) == len(invalid)
    for name in invalid:
        assert [line for line in lines if line.startswith((f"{name}:", f"{name} is"))], name


@pytest.mark.parametrize(
    ("typo", "suggestion"),
    [
        ("MLFLOW_PROXY_TARGET", "MLFLOW_PROXY_TARGET_ARN"),
        ("MLFLOW_PROXY_TOKEN_FILE", "MLFLOW_PROXY_TOKENS_FILE"),
        ("MLFLOW_PROXY_BODY_LIMIT_MB", "MLFLOW_PROXY_BODY_LIMIT_MIB"),
        ("MLFLOW_PROXY_LISTEN_", "MLFLOW_PROXY_LISTEN"),
    ],
)
def test_unknown_name_is_reported_with_the_most_similar_setting(typo: str, suggestion: str) -> None:
    assert problems({**PLAIN, typo: "secret-value"}) == [f"{typo} is not a setting; did you mean {suggestion}?"]


def test_unknown_name_without_a_similar_setting_is_reported() -> None:
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
        # With 0 the proxy would poll without a pause, or time out at once.
        ("MLFLOW_PROXY_PATH_PREFIX", "mlflow", "a path of letters, digits, - and _, such as /mlflow"),
        ("MLFLOW_PROXY_PATH_PREFIX", "/a//b", "a path of letters, digits, - and _, such as /mlflow"),
        ("MLFLOW_PROXY_PATH_PREFIX", "/..", "a path of letters, digits, - and _, such as /mlflow"),
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
        ("MLFLOW_PROXY_UI_URL", "https://127.0.0.1:5001", "an http:// origin on the loopback interface"),
        ("MLFLOW_PROXY_UI_URL", "http://10.0.0.1:5001", "an http:// origin on the loopback interface"),
        ("MLFLOW_PROXY_UI_URL", "http://127.0.0.1.example.com", "an http:// origin on the loopback interface"),
        ("MLFLOW_PROXY_UI_URL", "127.0.0.1:5001", "scheme://host[:port]"),
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
        ("MLFLOW_PROXY_ARTIFACTS_URI", "gs://team/mlflow", "s3://bucket or s3://bucket/prefix"),
        ("MLFLOW_PROXY_ARTIFACTS_URI", "s3://team/../mlflow", "s3://bucket or s3://bucket/prefix"),
        ("MLFLOW_PROXY_PRESIGNED_TRANSFERS", "on", "true or false"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000/bucket", "scheme://host[:port]"),
    ],
)
def test_invalid_value_is_reported_with_the_expected_form(name: str, text: str, form: str) -> None:
    [line] = problems({**PLAIN, name: text})
    assert line.startswith(f"{name}: got {text!r}, expected {form}")


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@mlflow", "http://:hunter2@mlflow:5000", "http://a:hunter2/@x@b/c", "me:hunter2@mlflow"]
)
def test_password_in_a_url_is_rejected_and_not_repeated(url: str) -> None:
    [line] = problems({**PLAIN, "MLFLOW_PROXY_UPSTREAM_URL": url})
    assert line.startswith("MLFLOW_PROXY_UPSTREAM_URL: ")
    assert "hunter2" not in line


# --- Conflicts

TOKENS = {"MLFLOW_PROXY_TOKENS_FILE": "tokens.json"}
UPSTREAM = {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000"}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (TOKENS, "Set one of MLFLOW_PROXY_TARGET_ARN (SageMaker) and MLFLOW_PROXY_UPSTREAM_URL (plain MLflow)."),
        (
            {**PLAIN, **SIGNED},
            "Set one of MLFLOW_PROXY_TARGET_ARN (SageMaker) and MLFLOW_PROXY_UPSTREAM_URL (plain MLflow).",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_UI_URL": "http://127.0.0.1:5001"},
            "MLFLOW_PROXY_UI_URL can be used with MLFLOW_PROXY_TARGET_ARN only",
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
        (
            {**PLAIN, "MLFLOW_PROXY_ARTIFACTS_URI": "s3://team/mlflow"},
            "MLFLOW_PROXY_ARTIFACTS_URI can be used with MLFLOW_PROXY_TARGET_ARN only",
        ),
        (
            {**SIGNED, "MLFLOW_PROXY_PRESIGNED_TRANSFERS": "true"},
            "MLFLOW_PROXY_PRESIGNED_TRANSFERS requires MLFLOW_PROXY_ARTIFACTS_URI.",
        ),
        (UPSTREAM, "Set one of MLFLOW_PROXY_TOKENS_FILE and MLFLOW_PROXY_TOKENS_SECRET"),
        (
            {**PLAIN, "MLFLOW_PROXY_TOKENS_SECRET": "s"},
            "Set one of MLFLOW_PROXY_TOKENS_FILE and MLFLOW_PROXY_TOKENS_SECRET",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_AUTH": "off"},
            "MLFLOW_PROXY_AUTH=off cannot be used together with MLFLOW_PROXY_TOKENS_FILE",
        ),
        (
            {**UPSTREAM, "MLFLOW_PROXY_AUTH": "off", "MLFLOW_PROXY_TOKENS_SECRET": "s"},
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
            {**SSO, **UPSTREAM, "MLFLOW_PROXY_TOKENS_FILE": "", "MLFLOW_PROXY_AUTH": "off"},
            "MLFLOW_PROXY_AUTH=off cannot be used together with MLFLOW_PROXY_ALB_ARN",
        ),
        ({**IAP, "MLFLOW_PROXY_ROLE_RULES": ""}, "MLFLOW_PROXY_IAP_AUDIENCE requires MLFLOW_PROXY_ROLE_RULES"),
        (
            {**PLAIN, "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS": "60", "MLFLOW_PROXY_TOKENS_MAX_AGE_SECONDS": "60"},
            "MLFLOW_PROXY_TOKENS_MAX_AGE_SECONDS must be more than MLFLOW_PROXY_TOKENS_RELOAD_SECONDS",
        ),
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
            {**PLAIN, "MLFLOW_PROXY_LONG_UPSTREAM_TIMEOUT_SECONDS": "109"},
            "MLFLOW_PROXY_LONG_UPSTREAM_TIMEOUT_SECONDS must be at least MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS",
        ),
        (
            {**PLAIN, "MLFLOW_PROXY_GRACE_SECONDS": "4.9"},
            "MLFLOW_PROXY_GRACE_SECONDS must be at least MLFLOW_PROXY_DRAIN_SECONDS",
        ),
    ],
)
def test_conflicting_settings_are_reported(environ: dict[str, str], words: str) -> None:
    lines, expected = problems(environ), words.split("|")
    assert len(lines) == len(expected), lines
    for line, part in zip(lines, expected, strict=True):
        assert part in line


def test_all_conflicts_are_reported_together() -> None:
    environ = {
        "MLFLOW_PROXY_AUTH": "off",
        "MLFLOW_PROXY_LISTEN": ":8080",
        "MLFLOW_PROXY_BODY_LIMIT_MIB": "999",
        "MLFLOW_PROXY_DRAIN_SECONDS": "99",
    }
    assert len(problems(environ)) == 4


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", ":8080", "[::]:8080", "10.0.0.1:8080", "mlflow.example.com:8080"])
def test_authentication_off_is_rejected_unless_on_loopback(listen: str) -> None:
    [line] = problems({**UPSTREAM, "MLFLOW_PROXY_AUTH": "off", "MLFLOW_PROXY_LISTEN": listen})
    assert "would make every client that reaches" in line
    assert str(Settings.from_env({**PLAIN, "MLFLOW_PROXY_LISTEN": listen}).listen) in line


def test_iap_allows_to_listen_on_any_address() -> None:
    settings = Settings.from_env({**IAP, "MLFLOW_PROXY_LISTEN": ":8080", "MLFLOW_PROXY_AUTH": "on"})
    assert str(settings.listen) == "0.0.0.0:8080"
    assert (value_of(settings, "auth"), value_of(settings, "tokens_file")) == (True, None)


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "[::1]:8080", "localhost:0"])
def test_authentication_off_is_accepted_on_loopback(listen: str) -> None:
    settings = Settings.from_env({**UPSTREAM, "MLFLOW_PROXY_AUTH": "off", "MLFLOW_PROXY_LISTEN": listen})
    assert value_of(settings, "auth") is False
