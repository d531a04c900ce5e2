"""The header provider, where MLflow is not what it was."""

import pytest

from mlflow_iap import IapAuth, SettingsError, plugin
from tests.doubles.google.accounts import IAP_CLIENT, JOB
from tests.doubles.google.world import URL, World


@pytest.fixture
def provider(world: World, monkeypatch: pytest.MonkeyPatch) -> plugin.HeaderProvider:
    monkeypatch.setattr(plugin, "_auth", IapAuth())
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URL)
    monkeypatch.setenv("MLFLOW_IAP_HEADER_PROVIDER", "on")
    return plugin.HeaderProvider()


def test_a_caller_that_hides_where_the_request_goes_gets_no_token(provider: plugin.HeaderProvider) -> None:
    with pytest.raises(SettingsError, match="set MLFLOW_TRACKING_AUTH=iap instead"):
        provider.request_headers()


def test_it_steps_aside_for_the_auth_plugin(provider: plugin.HeaderProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider.in_context()
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "iap")
    assert not provider.in_context()


def test_where_it_is_not_asked_for_no_setting_is_even_read(
    provider: plugin.HeaderProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_IAP_HEADER_PROVIDER")
    monkeypatch.setenv("MLFLOW_IAP_NONSENSE", "x")
    assert not provider.in_context()
