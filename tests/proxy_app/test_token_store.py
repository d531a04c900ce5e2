"""Where tokens are kept: nobody ever reads a half of a change, and no change is lost."""

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


def test_a_file_is_made_for_its_owner_alone(file: Path) -> None:
    store = FileStore(file)
    before = os.umask(0)
    try:
        store.update(lambda document: document.replace("[]", "[ ]"))
        assert store.read() == EMPTY.replace("[]", "[ ]")
        assert file.stat().st_mode & 0o777 == 0o600
        file.chmod(0o644)
        store.update(lambda document: document)
        assert file.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_an_edit_that_fails_changes_nothing(file: Path) -> None:
    store = FileStore(file)
    store.update(lambda _: "before")

    def fail(_: str) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.update(fail)
    assert store.read() == "before"
    store.update(lambda document: document + " and after")
    assert store.read() == "before and after"


def test_what_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "latin").write_bytes(b"\xff")
    for path in (tmp_path / "a-file" / "tokens.json", tmp_path, tmp_path / "latin"):
        with pytest.raises(StoreError, match="cannot be read") as unread:
            FileStore(path).read()
        assert str(path) in str(unread.value)
    with pytest.raises(StoreError, match=r"The file .*ooo cannot be written: "):
        FileStore(tmp_path / ("o" * 300)).update(lambda document: document)
    with pytest.raises(StoreError, match=r"python -m proxy_app token new --file .*none\.json"):
        FileStore(tmp_path / "none.json").read()


def test_a_folder_is_not_made_for_a_path_that_may_be_mistyped(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    for folder in (tmp_path / "mistyped", tmp_path / "two" / "levels", tmp_path / "a-file"):
        with pytest.raises(StoreError, match=f"{folder} does not exist: "):
            FileStore(folder / "tokens.json").update(lambda document: document)
        assert not folder.is_dir()


MANY = """
import sys
from proxy_app.__main__ import main
who, file = sys.argv[1:]
for number in range(8):
    sys.argv = ["proxy", "token", "new", "--name", f"{who}-{number}", "--role", "viewer", "--file", file]
    assert main() == 0
"""


def test_tokens_made_at_once_by_several_processes_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    store = FileStore(file)
    store.update(lambda document: document)
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, who, str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for who in ("a", "b", "c")
    ]
    most = 0
    while any(maker.poll() is None for maker in makers):
        seen = len(names(store.read()))  # a half of a document would raise
        assert seen >= most, "a token was lost"
        most = seen
        time.sleep(0.005)
    printed = [maker.communicate()[0].split() for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0, 0]
    assert sorted(names(store.read())) == sorted(f"{who}-{number}" for who in "abc" for number in range(8))
    assert len({plain for lines in printed for plain in lines}) == 24


# Stops for good when the new document is on its way to the disk.
HANGING = """
import os, signal, sys
from pathlib import Path
from proxy_app.auth.token_store import FileStore

def hang(_):
    print("writing", flush=True)
    signal.pause()

os.fsync = hang
FileStore(Path(sys.argv[1])).update(lambda _: sys.argv[2])
"""


def test_a_process_killed_while_it_writes_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    store = FileStore(file)
    before = serialize([Token.new("ci", Role.VIEWER, 1)[0]])
    store.update(lambda _: before)
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, str(file), "half a document"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
    assert store.read() == before
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob(".tokens.json.*") if "lock" not in path.name} == {0}
    store.update(lambda document: document + "\n")
    assert store.read() == before + "\n", "its lock went with it"


# --- A secret


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_aws_home(tmp_path, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture(scope="module")
def made() -> Generator[tuple[str, Any]]:
    """Where moto's Secrets Manager is, and a client of it: making one takes longer than a test."""
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
def client(made: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", made[0])
    return made[1]


def test_a_secret_is_read_and_changed(client: Any) -> None:
    client.create_secret(Name="team/tokens", SecretString="before")
    store = SecretStore("team/tokens")
    store.update(lambda document: document + " and after")
    assert store.read() == "before and after"
    assert client.get_secret_value(SecretId="team/tokens")["SecretString"] == "before and after"


def test_a_secret_without_a_value_is_empty(client: Any) -> None:
    client.create_secret(Name="new/tokens")
    store = SecretStore("new/tokens")
    store.update(lambda document: document.replace("[]", "[ ]"))
    assert store.read() == EMPTY.replace("[]", "[ ]")


def test_an_arn_says_the_secrets_region(client: Any) -> None:
    elsewhere = client_of(client.meta.endpoint_url, "us-east-2")
    arn = elsewhere.create_secret(Name="far/tokens", SecretString="far")["ARN"]
    assert ":us-east-2:" in arn
    assert SecretStore(arn).read() == "far"
    with pytest.raises(StoreError, match="The secret far/tokens cannot be read"):
        SecretStore("far/tokens").read()


def test_a_secret_that_is_not_there_or_not_text_is_named(client: Any) -> None:
    for attempt in (SecretStore("none").read, lambda: SecretStore("none").update(lambda document: document)):
        with pytest.raises(StoreError, match=r"The secret none cannot be .*ResourceNotFoundException") as missing:
            attempt()
        assert "the-secret-key" not in str(missing.value)
    client.create_secret(Name="binary", SecretBinary=b"\x00")
    with pytest.raises(StoreError, match="The secret binary is binary; expected a JSON text"):
        SecretStore("binary").read()


def test_no_region_and_no_keys_are_errors_of_the_store(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(StoreError, match="You must specify a region"):
        SecretStore("team/tokens").read()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="Unable to locate credentials"):
        SecretStore("team/tokens").read()


def test_somebody_elses_change_right_after_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = json.dumps({"tokens": [], "by": "them"})
    with serving(ContestedSecret(theirs)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        with pytest.raises(StoreError, match="The secret s was changed at the same time: try again"):
            SecretStore("s").update(lambda document: document + " ")
        assert endpoint.value == theirs
    with serving(ContestedSecret("")) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        SecretStore("s").update(lambda document: document + " ")
        assert endpoint.value == '{"tokens": []} '
