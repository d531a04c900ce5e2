"""The token stores, a file and a secret: permissions, errors, atomic and concurrent updates."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from proxy_app.auth import Role
from proxy_app.auth.token_store import EMPTY, FileStore, SecretStore, StoreError
from proxy_app.auth.tokens import Token, deserialize, serialize
from tests.doubles.aws_endpoints import ContestedSecret, serving
from tests.doubles.aws_home import empty_aws_home, moto_server


def names(document: str) -> list[str]:
    return [token.name for token in deserialize(document, "here")]


# --- A file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_file_is_readable_by_its_owner_only(file: Path) -> None:
    store = FileStore(file)
    previous_umask = os.umask(0)
    try:
        store.update(lambda document: document.replace("[]", "[ ]"))
        assert store.read() == EMPTY.replace("[]", "[ ]")
        assert file.stat().st_mode & 0o777 == 0o600
        file.chmod(0o644)
        store.update(lambda document: document)
        assert file.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(previous_umask)


def test_failed_update_does_not_change_the_file(file: Path) -> None:
    store = FileStore(file)
    store.update(lambda _: "before")

    def fail(_: str) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.update(fail)
    assert store.read() == "before"
    store.update(lambda document: document + " and after")
    assert store.read() == "before and after"


def test_read_and_write_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "latin").write_bytes(b"\xff")
    for path in (tmp_path / "a-file" / "tokens.json", tmp_path, tmp_path / "latin"):
        with pytest.raises(StoreError, match="cannot be read") as error:
            FileStore(path).read()
        assert str(path) in str(error.value)
    with pytest.raises(StoreError, match=r"The file .*ooo cannot be written: "):
        FileStore(tmp_path / ("o" * 300)).update(lambda document: document)
    with pytest.raises(StoreError, match=r"python -m proxy_app token new --file .*none\.json"):
        FileStore(tmp_path / "none.json").read()


def test_missing_directory_is_not_created(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    for directory in (tmp_path / "missing", tmp_path / "two" / "levels", tmp_path / "a-file"):
        with pytest.raises(StoreError, match=f"{directory} does not exist: "):
            FileStore(directory / "tokens.json").update(lambda document: document)
        assert not directory.is_dir()


CREATE_TOKENS = """
import sys
from proxy_app.__main__ import main
prefix, file = sys.argv[1:]
for number in range(8):
    sys.argv = ["proxy", "token", "new", "--name", f"{prefix}-{number}", "--role", "viewer", "--file", file]
    assert main() == 0
"""


def test_tokens_created_concurrently_by_several_processes_are_all_stored(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    store = FileStore(file)
    store.update(lambda document: document)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE_TOKENS, prefix, str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for prefix in ("a", "b", "c")
    ]
    count = 0
    while any(process.poll() is None for process in processes):
        previous, count = count, len(names(store.read()))  # raises TokenError for a partial document
        assert count >= previous, "a token was lost"
        time.sleep(0.005)
    printed = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(names(store.read())) == sorted(f"{prefix}-{number}" for prefix in "abc" for number in range(8))
    assert len({plaintext for lines in printed for plaintext in lines}) == 24


# Blocks while the new document is written to disk.
BLOCKED_WRITE = """
import os, signal, sys
from pathlib import Path
from proxy_app.auth.token_store import FileStore

def block(_):
    print("writing", flush=True)
    signal.pause()

os.fsync = block
FileStore(Path(sys.argv[1])).update(lambda _: sys.argv[2])
"""


def test_file_is_unchanged_when_the_writing_process_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    store = FileStore(file)
    before = serialize([Token.new("ci", Role.VIEWER, 1)[0]])
    store.update(lambda _: before)
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKED_WRITE, str(file), "new document"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
    assert store.read() == before
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob(".tokens.json.*") if "lock" not in path.name} == {0}
    store.update(lambda document: document + "\n")
    assert store.read() == before + "\n", "the lock of the killed process is released"


# --- A secret


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_aws_home(tmp_path, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture(scope="module")
def secrets_manager() -> Generator[tuple[str, Any]]:
    """The origin of moto's Secrets Manager and a client of it, shared since starting it takes longer than a test."""
    with moto_server() as origin:
        yield origin, client_of(origin, "eu-west-1")


def client_of(origin: str, region: str) -> Any:
    return botocore.session.Session().create_client(
        "secretsmanager",
        region_name=region,
        endpoint_url=origin,
        aws_access_key_id="AKIDENV",
        aws_secret_access_key="secret",
    )


@pytest.fixture
def client(secrets_manager: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_manager[0])
    return secrets_manager[1]


def test_secret_is_read_and_updated(client: Any) -> None:
    client.create_secret(Name="team/tokens", SecretString="before")
    store = SecretStore("team/tokens")
    store.update(lambda document: document + " and after")
    assert store.read() == "before and after"
    assert client.get_secret_value(SecretId="team/tokens")["SecretString"] == "before and after"


def test_update_of_a_secret_without_a_value_starts_with_no_tokens(client: Any) -> None:
    client.create_secret(Name="new/tokens")
    store = SecretStore("new/tokens")
    store.update(lambda document: document.replace("[]", "[ ]"))
    assert store.read() == EMPTY.replace("[]", "[ ]")


def test_secret_arn_determines_the_region(client: Any) -> None:
    other_region = client_of(client.meta.endpoint_url, "us-east-2")
    arn = other_region.create_secret(Name="far/tokens", SecretString="far")["ARN"]
    assert ":us-east-2:" in arn
    assert SecretStore(arn).read() == "far"
    with pytest.raises(StoreError, match="The secret far/tokens cannot be read"):
        SecretStore("far/tokens").read()


def test_errors_name_a_missing_or_binary_secret(client: Any) -> None:
    for operation in (SecretStore("none").read, lambda: SecretStore("none").update(lambda document: document)):
        with pytest.raises(StoreError, match=r"The secret none cannot be .*ResourceNotFoundException") as error:
            operation()
        assert "the-secret-key" not in str(error.value)
    client.create_secret(Name="binary", SecretBinary=b"\x00")
    with pytest.raises(StoreError, match="The secret binary is binary; expected a JSON text"):
        SecretStore("binary").read()


def test_missing_region_and_missing_credentials_raise_store_error(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(StoreError, match="You must specify a region"):
        SecretStore("team/tokens").read()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="Unable to locate credentials"):
        SecretStore("team/tokens").read()


def test_concurrent_change_of_the_secret_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    concurrent = json.dumps({"tokens": [], "by": "another process"})
    with serving(ContestedSecret(concurrent)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        with pytest.raises(StoreError, match="The secret s was changed at the same time: try again"):
            SecretStore("s").update(lambda document: document + " ")
        assert endpoint.value == concurrent
    with serving(ContestedSecret("")) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        SecretStore("s").update(lambda document: document + " ")
        assert endpoint.value == '{"tokens": []} '
