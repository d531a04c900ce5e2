"""Settings: what is taken, and what is said of what is not."""

import dataclasses
from pathlib import Path

import pytest

from mlflow_app.settings import Settings, SettingsError, proxy_environment, read
from proxy_app.setting_values import Address

SECRET = "projects/team-ml/secrets/database-password"
RIGHT = {
    "MLFLOW_APP_DATABASE_SOCKET": "/cloudsql/team-ml:europe-west1:mlflow",
    "MLFLOW_APP_DATABASE_PASSWORD_SECRET": SECRET,
    "MLFLOW_APP_ARTIFACTS_DESTINATION": "gs://team-artifacts",
}
PROXY = {"MLFLOW_PROXY_TOKENS_FILE": "/tokens.json", "MLFLOW_PROXY_LISTEN": "0.0.0.0:8080"}


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(environ)
    return str(raised.value).splitlines()


def test_three_settings_are_enough() -> None:
    settings = Settings.from_env(RIGHT)
    assert settings.database_socket == "/cloudsql/team-ml:europe-west1:mlflow"
    assert settings.database_password_secret == f"{SECRET}/versions/latest"
    assert (settings.database_name, settings.database_user) == ("mlflow", "mlflow")
    assert settings.artifacts_proxied
    assert settings.schema_upgrade


def test_every_wrong_setting_is_named_at_once() -> None:
    found = problems(
        {
            "MLFLOW_APP_DATABASE_SOCKET": "cloudsql",
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
        "MLFLOW_APP_DATABASE_SOCKET",
        "MLFLOW_APP_DATABASE_PASSWORD_SECRET",
        "MLFLOW_APP_ARTIFACTS_DESTINATION",
        "MLFLOW_APP_ARTIFACT_ACCESS",
        "MLFLOW_APP_WORKERS",
        "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS",
    ]
    assert found[0] == "MLFLOW_APP_DATABSE_NAME is not a setting; is MLFLOW_APP_DATABASE_NAME meant?"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"MLFLOW_APP_DATABASE_SOCKET": ""}, "Set one of MLFLOW_APP_DATABASE_SOCKET and MLFLOW_APP_DATABASE_ADDRESS."),
        (
            {"MLFLOW_APP_DATABASE_ADDRESS": "10.0.0.1:3306"},
            "Set one of MLFLOW_APP_DATABASE_SOCKET and MLFLOW_APP_DATABASE_ADDRESS.",
        ),
        (
            {"MLFLOW_APP_DATABASE_PASSWORD": "x"},
            "Set one of MLFLOW_APP_DATABASE_PASSWORD_SECRET and MLFLOW_APP_DATABASE_PASSWORD.",
        ),
        (
            {"MLFLOW_APP_ARTIFACTS_DESTINATION": ""},
            "Set MLFLOW_APP_ARTIFACTS_DESTINATION to gs://bucket, for the artifacts.",
        ),
        (
            {"MLFLOW_APP_ARTIFACTS_DESTINATION": "/data", "MLFLOW_APP_ARTIFACT_ACCESS": "direct"},
            "MLFLOW_APP_ARTIFACT_ACCESS=direct takes a bucket: clients do not see this folder.",
        ),
        (
            {"MLFLOW_APP_DATABASE_SOCKET": "/" + "s" * 107},
            "MLFLOW_APP_DATABASE_SOCKET: '/sssss",
        ),
        (
            {"MLFLOW_APP_DATABASE_CA_PEM": "no certificate"},
            "MLFLOW_APP_DATABASE_CA_PEM: 'no certificate' is not right; it",
        ),
        ({"MLFLOW_APP_SECRET_MANAGER_URL": "http://example.org"}, "MLFLOW_APP_SECRET_MANAGER_URL: 'http://example"),
    ],
)
def test_what_does_not_go_together_is_said(changes: dict[str, str], sentence: str) -> None:
    (found,) = problems({**RIGHT, **changes})
    assert found.startswith(sentence)


@pytest.mark.parametrize("text", ["10.0.0.1", ":3306", "host:0", "host:70000", "host:x"])
def test_an_address_needs_a_host_and_a_port(text: str) -> None:
    (found,) = problems({**RIGHT, "MLFLOW_APP_DATABASE_SOCKET": "", "MLFLOW_APP_DATABASE_ADDRESS": text})
    assert "host:port" in found


def test_a_version_of_the_secret_can_be_held_on_to() -> None:
    settings = Settings.from_env({**RIGHT, "MLFLOW_APP_DATABASE_PASSWORD_SECRET": f"{SECRET}/versions/7"})
    assert settings.database_password_secret.endswith("/versions/7")


def test_a_password_is_taken_as_it_is_and_never_shown() -> None:
    environ = {name: text for name, text in RIGHT.items() if "SECRET" not in name}
    settings = Settings.from_env({**environ, "MLFLOW_APP_DATABASE_PASSWORD": "  hush \n"})
    assert settings.database_password == "  hush \n"
    assert "hush" not in repr(settings)
    wrong = {
        **environ,
        "MLFLOW_APP_DATABASE_PASSWORD": "hush",
        "MLFLOW_APP_ARTIFACTS_DESTINATION": "gs://user:hush@bucket",
    }
    assert "hush" not in "\n".join(problems(wrong))


def test_the_proxy_wrong_settings_are_named_together_with_ours() -> None:
    with pytest.raises(SettingsError) as raised:
        read(
            {
                "MLFLOW_APP_ARTIFACTS_DESTINATION": "x",
                "MLFLOW_PROXY_MAX_REQUESTS": "many",
                "MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000",
            }
        )
    said = str(raised.value)
    for name in ("MLFLOW_APP_ARTIFACTS_DESTINATION", "MLFLOW_APP_DATABASE_SOCKET", "MLFLOW_PROXY_MAX_REQUESTS"):
        assert name in said
    assert "MLFLOW_PROXY_UPSTREAM_URL is not for this image" in said


def test_the_proxy_gets_its_own_settings_and_nothing_of_mlflows() -> None:
    settings = Settings.from_env(RIGHT)
    environ = {
        **RIGHT,
        **PROXY,
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": "hush",
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


def test_the_proxy_and_mlflow_end_within_the_time_that_there_is() -> None:
    settings, proxy = read({**RIGHT, **PROXY})
    assert proxy.grace + 5 <= settings.stop == 25
    with pytest.raises(SettingsError, match=r"MLFLOW_PROXY_GRACE_SECONDS may be 20 at most: .* \(25\)"):
        read({**RIGHT, **PROXY, "MLFLOW_PROXY_GRACE_SECONDS": "21"})
    _, longer = read({**RIGHT, **PROXY, "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS": "60"})
    assert longer.grace == 55


def test_every_setting_has_a_sentence() -> None:
    assert len(Settings.table()) == len(dataclasses.fields(Settings))
    for name, _, sentence in Settings.table():
        assert name.startswith("MLFLOW_APP_")
        assert sentence.endswith(".")


def test_the_settings_page_is_what_the_code_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "mlflow-settings.md"
    assert page.read_text() == Settings.markdown(), "run `make docs`"


def test_an_address_of_ipv6_keeps_its_brackets() -> None:
    environ = {**RIGHT, "MLFLOW_APP_DATABASE_SOCKET": "", "MLFLOW_APP_DATABASE_ADDRESS": "[fd00::1]:3306"}
    assert Settings.from_env(environ).database_address == Address("fd00::1", 3306)
