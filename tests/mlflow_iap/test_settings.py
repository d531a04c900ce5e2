from pathlib import Path

import pytest

import mlflow_iap
from mlflow_iap import Settings, SettingsError

README = (Path(mlflow_iap.__file__).parent / "README.md").read_text()


def test_every_setting_is_in_the_readme_with_its_sentence() -> None:
    rows = "\n".join(f"| `{name}` | {sentence} |" for name, sentence in Settings.table())
    assert rows in README, rows


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(
            {
                "MLFLOW_IAP_AUDIENC": "x",
                "MLFLOW_IAP_HOSTS": "https://a.example",
                "MLFLOW_IAP_CREDENTIAL_SOURCE": "magic",
                "MLFLOW_IAP_AUDIENCE": "my-client",
                "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": "nobody",
                "MLFLOW_IAP_KEY_FILE": "a.json",
                "MLFLOW_IAP_TOKEN": "eyJsecret",
            }
        )
    said = str(raised.value)
    for line in (
        "MLFLOW_IAP_AUDIENC is not a setting; is MLFLOW_IAP_AUDIENCE meant?",
        "MLFLOW_IAP_HOSTS: 'https://a.example' is not right; it takes hosts without https:// or a path, such as",
        "MLFLOW_IAP_AUDIENCE: 'my-client' is not right; it takes IAP's OAuth client id, NUMBER-",
        "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT: 'nobody' is not right; it takes a service account's address, NAME@PROJECT.",
        "MLFLOW_IAP_CREDENTIAL_SOURCE: 'magic' is not right; it takes metadata or login.",
        "Set one of MLFLOW_IAP_TOKEN, MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT, MLFLOW_IAP_KEY_FILE: each says where tokens come",
    ):
        assert line in said
    assert "eyJsecret" not in said


def test_a_settings_text_shows_no_token() -> None:
    assert "eyJsecret" not in repr(Settings.from_env({"MLFLOW_IAP_TOKEN": "eyJsecret"}))


def test_empty_means_the_default() -> None:
    assert Settings.from_env({"MLFLOW_IAP_HOSTS": " ", "MLFLOW_IAP_KEY_FILE": ""}) == Settings()
