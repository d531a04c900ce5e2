"""In which header the token goes; IAP takes it from both."""

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
    """(in Proxy-Authorization, the Authorization) of the last request at IAP; IAP takes Proxy-Authorization away."""
    asked = world.iap.passed[-1]
    return world.iap.seen[-1] not in str(asked.headers["Authorization"]), asked.headers["Authorization"]


def test_it_is_authorization_so_that_iap_says_what_is_wrong_with_it(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert requests.get(URL, auth=auth, timeout=30).status_code == 200
    assert not sent(world)[0]
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(OTHER_CLIENT, JOB))
    answer = requests.get(URL, auth=IapAuth(), timeout=30)
    assert answer.status_code == 401
    assert answer.text.startswith("Invalid IAP credentials: JWT audience doesn't match this application")


def test_an_authorization_for_what_is_behind_iap_stays(world: World, auth: IapAuth) -> None:
    headers = {"Authorization": "Basic bWxmbG93OnBhc3N3b3Jk"}
    assert requests.get(URL, auth=auth, headers=headers, timeout=30).status_code == 200
    assert sent(world) == (True, "Basic bWxmbG93OnBhc3N3b3Jk")


def test_the_setting_chooses(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_HEADER", "Proxy-Authorization")
    assert requests.get(URL, auth=auth, timeout=30).status_code == 200
    assert sent(world) == (True, None)
