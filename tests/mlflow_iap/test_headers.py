"""The token's header: Authorization or Proxy-Authorization. IAP accepts both."""

import pytest
import requests

from mlflow_iap import IapAuth
from tests.doubles.google.accounts import IAP_CLIENT, JOB, OTHER_CLIENT
from tests.doubles.google.world import URL, World


@pytest.fixture(autouse=True)
def _token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URL)


def sent(world: World) -> tuple[bool, str | None]:
    """(whether the token was in Proxy-Authorization, the Authorization header) of the last request at IAP.

    IAP removes Proxy-Authorization before it forwards a request.
    """
    request = world.iap.passed[-1]
    return world.iap.received_tokens[-1] not in str(request.headers["Authorization"]), request.headers["Authorization"]


def test_default_is_authorization_for_which_iap_explains_errors(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert requests.get(URL, auth=auth, timeout=30).status_code == 200
    assert not sent(world)[0]
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(OTHER_CLIENT, JOB))
    response = requests.get(URL, auth=IapAuth(), timeout=30)
    assert response.status_code == 401
    assert response.text.startswith("Invalid IAP credentials: JWT audience doesn't match this application")


def test_existing_authorization_header_is_preserved(world: World, auth: IapAuth) -> None:
    headers = {"Authorization": "Basic bWxmbG93OnBhc3N3b3Jk"}
    assert requests.get(URL, auth=auth, headers=headers, timeout=30).status_code == 200
    assert sent(world) == (True, "Basic bWxmbG93OnBhc3N3b3Jk")


def test_header_setting_selects_header(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_HEADER", "Proxy-Authorization")
    assert requests.get(URL, auth=auth, timeout=30).status_code == 200
    assert sent(world) == (True, None)
