"""Requests above the front end's limit are not sent, and MLflow's variables are set; the cases without a server.

tests/mlflow_app/test_large_files.py uploads files with real clients.
"""

import os
import sys
import types
from collections.abc import Iterator

import pytest
import requests

from mlflow_iap import IapAuth, RequestTooLargeError, Settings, plugin, uploads
from tests.doubles.google.accounts import IAP_CLIENT
from tests.doubles.google.world import HOST, OTHER_HOST, URL, World

LIMIT = 32_000_000
FILE = f"{URL}/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/model.bin"
VARIABLES = (uploads.ENABLE, uploads.MINIMUM, uploads.CHUNK)


@pytest.fixture(autouse=True)
def _client(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A client's variables, without those for uploads."""
    for name, value in {**world.on_google(), "MLFLOW_IAP_AUDIENCE": IAP_CLIENT, "MLFLOW_TRACKING_URI": URL}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(plugin, "_auth", IapAuth(now=world.clock.now))
    yield
    for name in VARIABLES:
        os.environ.pop(name, None)


def import_mlflow(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    module = types.ModuleType("mlflow")
    module.__dict__["__version__"] = version
    monkeypatch.setitem(sys.modules, "mlflow", module)


def set_by_plugin() -> dict[str, str]:
    """MLflow's variables after a request."""
    plugin.AuthProvider().get_auth()
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


class Zeros:
    """A body of zeros that nothing reads."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def read(self, _: int = -1) -> bytes:
        raise AssertionError("a byte of the body was read")

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("a byte of the body was read")


def refusal(auth: IapAuth, url: str = FILE, size: int = LIMIT + 1) -> str:
    with pytest.raises(RequestTooLargeError) as caught:
        requests.put(url, data=Zeros(size), auth=auth, timeout=10)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("version", ["2.11.0", "2.22.5", "3.17.2", "4.0.0rc1"])
def test_plugin_sets_variables_that_are_not_set(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    import_mlflow(monkeypatch, version)
    assert set_by_plugin() == {uploads.ENABLE: "true", uploads.MINIMUM: "16000000"}
    monkeypatch.setenv(uploads.ENABLE, "false")
    monkeypatch.setenv(uploads.MINIMUM, "1")
    monkeypatch.setenv(uploads.CHUNK, "20000000")
    assert set_by_plugin() == {uploads.ENABLE: "false", uploads.MINIMUM: "1", uploads.CHUNK: "20000000"}


def test_plugin_sets_nothing_without_limit_and_with_invalid_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import_mlflow(monkeypatch, "3.17.2")
    for value in ("0", "-1", "32 MB"):
        monkeypatch.setenv("MLFLOW_IAP_MAX_REQUEST_BYTES", value)
        monkeypatch.setattr(plugin, "_auth", IapAuth())
        assert set_by_plugin() == {}


@pytest.mark.parametrize("version", ["1.30.1", "2.8.0", "2.10.2"])
def test_version_without_uploads_in_parts_is_named(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Up to 2.10, MLflow stored files that it uploaded in parts at a wrong path."""
    import_mlflow(monkeypatch, version)
    assert set_by_plugin() == {}
    number = version.rpartition(".")[0]
    assert f"MLflow {number} cannot upload it in parts: install MLflow 2.11 or newer." in refusal(auth)
    assert world.internet.requests == []


def test_request_above_limit_is_not_sent(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    message = refusal(auth)
    assert message.startswith(f"The request of {LIMIT + 1} bytes is not sent: App Engine refuses requests above 32 MB")
    assert "Upload the file with MLflow's client" in message
    assert "Send less at once." in refusal(auth, f"{URL}/v1/traces")
    # No token was fetched either.
    assert world.internet.requests == []


def test_requests_up_to_limit_and_to_other_hosts_are_sent(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_IAP_MAX_REQUEST_BYTES", "1000")
    assert requests.put(FILE, data=b"x" * 1000, auth=auth, timeout=10).status_code == 200
    other = FILE.replace(HOST, OTHER_HOST)
    assert requests.put(other, data=b"x" * 1001, auth=auth, timeout=10).status_code == 200
    assert [len(request.body) for request in world.internet.requests if request.method == "PUT"] == [1000, 1001]


def test_limit_of_zero_sends_everything(auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_MAX_REQUEST_BYTES", "0")
    assert requests.put(FILE, data=bytes(LIMIT + 1), auth=auth, timeout=60).status_code == 200


def test_default_limit_is_below_both_meanings_of_32_mb() -> None:
    assert Settings().max_request_bytes == LIMIT < 32 * 1024**2
