"""Settings: valid values, and errors."""

import dataclasses
from pathlib import Path

import pytest

from mlflow_app.settings import Settings, SettingsError, mlflow_environment, proxy_environment, read_settings
from proxy_app.setting_values import Address

SECRET = "projects/team-ml/secrets/database-password"
VALID = {
    "MLFLOW_APP_DATABASE_INSTANCE": "team-ml:europe-west1:mlflow",
    "MLFLOW_APP_DATABASE_PASSWORD_SECRET": SECRET,
    "MLFLOW_APP_ARTIFACTS_DESTINATION": "gs://team-artifacts",
}
ADDRESS = {"MLFLOW_APP_DATABASE_INSTANCE": "", "MLFLOW_APP_DATABASE_ADDRESS": "10.0.0.1:3306"}
PROXY = {"MLFLOW_PROXY_TOKENS_FILE": "/tokens.json", "MLFLOW_PROXY_LISTEN": "0.0.0.0:8080"}


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)
    return str(raised.value).splitlines()


def test_three_settings_are_required() -> None:
    settings = Settings.from_env(VALID)
    assert settings.database_instance == "team-ml:europe-west1:mlflow"
    assert settings.database_ip_type == "public"
    assert settings.database_password_secret == f"{SECRET}/versions/latest"
    assert (settings.database_name, settings.database_user) == ("mlflow", "mlflow")
    assert settings.artifacts_proxied
    assert settings.schema_upgrade


def test_error_names_every_invalid_setting() -> None:
    found = problems(
        {
            "MLFLOW_APP_DATABASE_INSTANCE": "mlflow",
            "MLFLOW_APP_DATABASE_IP_TYPE": "PRIMARY",
            "MLFLOW_APP_DATABASE_PASSWORD_SECRET": "database-password",
            "MLFLOW_APP_ARTIFACTS_DESTINATION": "s3://bucket",
            "MLFLOW_APP_ARTIFACT_ACCESS": "both",
            "MLFLOW_APP_WORKERS": "-1",
            "MLFLOW_APP_DATABSE_NAME": "x",
            "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS": "5",
        }
    )
    assert [problem.split(":")[0].split(" ")[0] for problem in found] == [
        "MLFLOW_APP_DATABSE_NAME",
        "MLFLOW_APP_DATABASE_INSTANCE",
        "MLFLOW_APP_DATABASE_IP_TYPE",
        "MLFLOW_APP_DATABASE_PASSWORD_SECRET",
        "MLFLOW_APP_ARTIFACTS_DESTINATION",
        "MLFLOW_APP_ARTIFACT_ACCESS",
        "MLFLOW_APP_WORKERS",
        "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS",
    ]
    assert found[0] == "MLFLOW_APP_DATABSE_NAME is not a setting; did you mean MLFLOW_APP_DATABASE_NAME?"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"MLFLOW_APP_DATABASE_INSTANCE": ""},
            "Set either MLFLOW_APP_DATABASE_INSTANCE or MLFLOW_APP_DATABASE_ADDRESS.",
        ),
        (
            {"MLFLOW_APP_DATABASE_ADDRESS": "10.0.0.1:3306"},
            "Set either MLFLOW_APP_DATABASE_INSTANCE or MLFLOW_APP_DATABASE_ADDRESS.",
        ),
        (
            {"MLFLOW_APP_DATABASE_PASSWORD": "x"},
            "Set either MLFLOW_APP_DATABASE_PASSWORD_SECRET or MLFLOW_APP_DATABASE_PASSWORD.",
        ),
        (
            {"MLFLOW_APP_ARTIFACTS_DESTINATION": ""},
            "Set MLFLOW_APP_ARTIFACTS_DESTINATION to gs://bucket.",
        ),
        (
            {"MLFLOW_APP_ARTIFACTS_DESTINATION": "/data", "MLFLOW_APP_ARTIFACT_ACCESS": "direct"},
            "MLFLOW_APP_ARTIFACT_ACCESS=direct requires a bucket: clients cannot access this folder.",
        ),
        (
            {"MLFLOW_APP_DATABASE_IAM_LOGIN": "on"},
            "MLFLOW_APP_DATABASE_IAM_LOGIN=on excludes a password: remove the setting of it.",
        ),
        (
            {**ADDRESS, "MLFLOW_APP_DATABASE_IAM_LOGIN": "on", "MLFLOW_APP_DATABASE_PASSWORD_SECRET": ""},
            "MLFLOW_APP_DATABASE_IAM_LOGIN requires MLFLOW_APP_DATABASE_INSTANCE.",
        ),
        ({"MLFLOW_APP_SQL_ADMIN_URL": "http://example.org"}, "MLFLOW_APP_SQL_ADMIN_URL: got 'http://example"),
        ({"MLFLOW_APP_SECRET_MANAGER_URL": "http://example.org"}, "MLFLOW_APP_SECRET_MANAGER_URL: got 'http://example"),
    ],
)
def test_invalid_or_conflicting_setting_raises_error(changes: dict[str, str], message: str) -> None:
    (found,) = problems({**VALID, **changes})
    assert found.startswith(message)


@pytest.mark.parametrize("text", ["10.0.0.1", ":3306", "host:0", "host:70000", "host:x"])
def test_address_requires_host_and_port(text: str) -> None:
    (found,) = problems({**VALID, "MLFLOW_APP_DATABASE_INSTANCE": "", "MLFLOW_APP_DATABASE_ADDRESS": text})
    assert "host:port" in found


def test_secret_version_can_be_pinned() -> None:
    settings = Settings.from_env({**VALID, "MLFLOW_APP_DATABASE_PASSWORD_SECRET": f"{SECRET}/versions/7"})
    assert settings.database_password_secret.endswith("/versions/7")


def test_password_keeps_whitespace_and_is_never_shown() -> None:
    environ = {name: text for name, text in VALID.items() if "SECRET" not in name}
    settings = Settings.from_env({**environ, "MLFLOW_APP_DATABASE_PASSWORD": "  planted \n"})
    assert settings.database_password == "  planted \n"
    assert "planted" not in repr(settings)
    wrong = {
        **environ,
        "MLFLOW_APP_DATABASE_PASSWORD": "planted",
        "MLFLOW_APP_ARTIFACTS_DESTINATION": "gs://user:planted@bucket",
    }
    assert "planted" not in "\n".join(problems(wrong))


def test_error_names_invalid_settings_of_the_proxy_too() -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings(
            {
                "MLFLOW_APP_ARTIFACTS_DESTINATION": "x",
                "MLFLOW_PROXY_MAX_REQUESTS": "many",
                "MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000",
            }
        )
    message = str(raised.value)
    for name in ("MLFLOW_APP_ARTIFACTS_DESTINATION", "MLFLOW_APP_DATABASE_INSTANCE", "MLFLOW_PROXY_MAX_REQUESTS"):
        assert name in message
    assert "MLFLOW_PROXY_UPSTREAM_URL must not be set" in message


def test_proxy_environment_has_no_variables_of_mlflow() -> None:
    settings = Settings.from_env(VALID)
    environ = {
        **VALID,
        **PROXY,
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": "planted",
        "HOME": "/home",
        "MLFLOW_PROXY_GRACE_SECONDS": " ",
    }
    assert proxy_environment(environ, settings, 5000) == {
        **PROXY,
        "HOME": "/home",
        "MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000",
        "MLFLOW_PROXY_DRAIN_SECONDS": "3",
        "MLFLOW_PROXY_GRACE_SECONDS": "20",
    }


def test_grace_period_fits_into_shutdown_timeout() -> None:
    settings, proxy = read_settings({**VALID, **PROXY})
    assert proxy.grace + 5 <= settings.shutdown_timeout == 25
    with pytest.raises(SettingsError, match=r"MLFLOW_PROXY_GRACE_SECONDS must be at most 20: .* \(25\)"):
        read_settings({**VALID, **PROXY, "MLFLOW_PROXY_GRACE_SECONDS": "21"})
    _, longer = read_settings({**VALID, **PROXY, "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS": "60"})
    assert longer.grace == 55


def test_every_setting_has_a_description() -> None:
    assert len(Settings.table()) == len(dataclasses.fields(Settings))
    for name, _, description in Settings.table():
        assert name.startswith("MLFLOW_APP_")
        assert description.endswith(".")


def test_settings_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "mlflow-settings.md"
    assert page.read_text() == Settings.markdown(), "run `make docs`"


@pytest.mark.parametrize("text", ["mlflow", "europe-west1:mlflow", "/cloudsql/team-ml:europe-west1:mlflow", "a:b:c"])
def test_instance_requires_project_region_and_name(text: str) -> None:
    (found,) = problems({**VALID, "MLFLOW_APP_DATABASE_INSTANCE": text})
    assert found.endswith("expected the connection name of a Cloud SQL instance, project:region:instance.")


def test_instance_may_be_in_the_project_of_a_domain() -> None:
    name = "example.org:team-ml:europe-west1:mlflow"
    assert Settings.from_env({**VALID, "MLFLOW_APP_DATABASE_INSTANCE": name}).database_instance == name


def test_iam_login_needs_no_password() -> None:
    environ = {**VALID, "MLFLOW_APP_DATABASE_PASSWORD_SECRET": "", "MLFLOW_APP_DATABASE_IAM_LOGIN": "on"}
    assert Settings.from_env(environ).database_iam_login


def test_ipv6_address_is_parsed() -> None:
    environ = {**VALID, "MLFLOW_APP_DATABASE_INSTANCE": "", "MLFLOW_APP_DATABASE_ADDRESS": "[fd00::1]:3306"}
    assert Settings.from_env(environ).database_address == Address("fd00::1", 3306)


# --- In front of SageMaker

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team"
TARGET = {"MLFLOW_APP_TARGET_ARN": ARN}


def test_target_needs_no_other_setting_and_excludes_those_of_a_database_and_artifacts() -> None:
    settings, proxy = read_settings({**TARGET, **PROXY})
    assert (settings.target_arn, proxy.target_arn, proxy.ui_url) == (ARN, ARN, "http://127.0.0.1:1")
    found = problems({**TARGET, **VALID})
    assert [problem.split(":")[0] for problem in found] == [
        f"MLFLOW_APP_TARGET_ARN excludes {name}"
        for name in (
            "MLFLOW_APP_DATABASE_INSTANCE",
            "MLFLOW_APP_DATABASE_PASSWORD_SECRET",
            "MLFLOW_APP_ARTIFACTS_DESTINATION",
        )
    ]


@pytest.mark.parametrize("arn", ["team", "arn:aws:s3:::bucket", ARN.replace("arn:aws:", "arn:aws-cn:")])
def test_target_requires_an_arn_of_sagemaker(arn: str) -> None:
    (found,) = problems({"MLFLOW_APP_TARGET_ARN": arn})
    assert found.startswith(f"MLFLOW_APP_TARGET_ARN: got {arn!r}, expected arn:<partition>:sagemaker:")


@pytest.mark.parametrize("name", ["MLFLOW_PROXY_UPSTREAM_URL", "MLFLOW_PROXY_TARGET_ARN", "MLFLOW_PROXY_UI_URL"])
def test_settings_of_the_proxy_that_the_image_sets_are_rejected(name: str) -> None:
    for environ in ({**VALID, **PROXY}, {**TARGET, **PROXY}):
        with pytest.raises(SettingsError, match=f"{name} must not be set: the image sets it"):
            read_settings({**environ, name: "http://127.0.0.1:5000"})


def test_plugin_gets_the_proxy_s_endpoint_role_and_authorities() -> None:
    role = "arn:aws:iam::123456789012:role/mlflow"
    environ = {
        **TARGET,
        **PROXY,
        "MLFLOW_PROXY_TARGET_ENDPOINT": "https://mlflow.example.com",
        "MLFLOW_PROXY_ASSUME_ROLE_ARN": role,
        "AWS_CA_BUNDLE": "/ca.pem",
    }
    settings, proxy = read_settings(environ)
    assert mlflow_environment(environ, settings, proxy) == {
        **TARGET,
        "AWS_CA_BUNDLE": "/ca.pem",
        "REQUESTS_CA_BUNDLE": "/ca.pem",
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": "https://mlflow.example.com",
        "SAGEMAKER_MLFLOW_ASSUME_ROLE_ARN": role,
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    settings, proxy = read_settings({**TARGET, **PROXY})
    assert mlflow_environment({**TARGET, **PROXY}, settings, proxy) == {**TARGET, "AWS_DEFAULT_REGION": "eu-west-1"}
