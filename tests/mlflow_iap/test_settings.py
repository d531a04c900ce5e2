"""Settings: the README's table, and errors."""

from pathlib import Path

import pytest

import mlflow_iap
from mlflow_iap import Settings, SettingsError

README = (Path(mlflow_iap.__file__).parent / "README.md").read_text()


def test_readme_lists_every_setting() -> None:
    rows = "\n".join(f"| `{name}` | {description} |" for name, description in Settings.table())
    assert rows in README, rows


def test_all_errors_are_in_one_message() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(
            {
                "MLFLOW_IAP_AUDIENC": "x",
                "MLFLOW_IAP_HOSTS": "https://a.example",
                "MLFLOW_IAP_CREDENTIAL_SOURCE": "magic",
                "MLFLOW_IAP_AUDIENCE": "my-client",
                "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": "job",
                "MLFLOW_IAP_KEY_FILE": "a.json",
                "MLFLOW_IAP_TOKEN": "eyJsecret",
            }
        )
    message = str(raised.value)
    for line in (
        "MLFLOW_IAP_AUDIENC is not a setting; did you mean MLFLOW_IAP_AUDIENCE?",
        "MLFLOW_IAP_HOSTS: got 'https://a.example', expected hosts without https:// or a path, such as",
        "MLFLOW_IAP_AUDIENCE: got 'my-client', expected IAP's OAuth client id, NUMBER-",
        "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT: got 'job', expected a service account's e-mail",
        "MLFLOW_IAP_CREDENTIAL_SOURCE: got 'magic', expected metadata or gcloud.",
        "Set only one of MLFLOW_IAP_TOKEN, MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT, MLFLOW_IAP_KEY_FILE: each selects",
    ):
        assert line in message
    assert "eyJsecret" not in message


def test_repr_hides_token() -> None:
    assert "eyJsecret" not in repr(Settings.from_env({"MLFLOW_IAP_TOKEN": "eyJsecret"}))


def test_empty_variable_means_default() -> None:
    assert Settings.from_env({"MLFLOW_IAP_HOSTS": " ", "MLFLOW_IAP_KEY_FILE": ""}) == Settings()
