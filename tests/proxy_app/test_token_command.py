"""The command `python -m proxy_app token`: output, exit codes, files and secrets."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxy_app.__main__ import main
from proxy_app.auth import Role
from proxy_app.auth.tokens import Token, deserialize, serialize
from tests.doubles.aws_endpoints import ContestedSecret, serving
from tests.doubles.aws_home import empty_aws_home

TOKEN = re.compile(r"mlp_[a-z0-9]{8}_[A-Za-z0-9_-]{43}\n")


class Command:
    """The command, run in the test process; `out` and `err` are the output of the last run."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = file
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str, store: tuple[str, ...] | None = None) -> int:
        options = ("--file", str(self.file)) if store is None else store
        self._monkeypatch.setattr(sys, "argv", ["proxy", "token", *arguments, *options])
        self._capsys.readouterr()
        try:
            code = main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else -1
        self.out, self.err = self._capsys.readouterr()
        return code

    def names(self) -> list[str]:
        return [token.name for token in deserialize(self.file.read_text(), "here")]


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path / "tokens.json", monkeypatch, capsys)


def test_stdout_of_new_is_the_token_only(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    completed = subprocess.run(
        [sys.executable, "-m", "proxy_app", "token", "new", "--name", "ci", "--role", "editor", "--file", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert TOKEN.fullmatch(completed.stdout)
    assert completed.stdout.strip() not in completed.stderr + file.read_text()
    assert "editor 'ci', until 20" in completed.stderr
    assert "shown only once" in completed.stderr
    assert file.stat().st_mode & 0o777 == 0o600


def test_new_token_has_the_role_and_lifetime_of_its_options(token: Command) -> None:
    assert token("new", "--name", "ci", "--role", "viewer", "--days", "0.5") == 0
    assert TOKEN.fullmatch(token.out)
    assert token("new", "--name", "me", "--role", "admin") == 0
    half_a_day, default = deserialize(token.file.read_text(), "here")
    assert (half_a_day.role, (half_a_day.expires - half_a_day.created).total_seconds()) == (Role.VIEWER, 43200)
    assert (default.role, (default.expires - default.created).days) == (Role.ADMIN, 90)


def test_duplicate_name_is_rejected(token: Command) -> None:
    assert token("new", "--name", "ci", "--role", "editor") == 0
    before = token.file.read_text()
    assert token("new", "--name", "ci", "--role", "admin") == 1
    assert token.err == "The token 'ci' exists: revoke it first, or choose another name.\n"
    assert token.out == ""
    assert token.file.read_text() == before


def test_revoke_removes_one_token(token: Command) -> None:
    for name in ("a", "b"):
        token("new", "--name", name, "--role", "editor")
    assert token("revoke", "a") == 0
    assert token.names() == ["b"]
    assert token.out == ""
    assert token.err == "revoked 'a'; running proxies reject it within MLFLOW_PROXY_TOKENS_RELOAD_SECONDS (15)\n"
    assert token("revoke", "a") == 1
    assert token.err == "The token 'a' does not exist.\n"
    assert token.names() == ["b"]
    assert token("new", "--name", "a", "--role", "viewer") == 0, "the name of a revoked token can be used again"


def test_list_shows_names_roles_and_expiry_without_secrets(token: Command) -> None:
    assert token("new", "--name", "zoe", "--role", "admin") == 0
    assert token("new", "--name", "someone@example.com", "--role", "viewer") == 0
    secrets = re.findall(r'"(?:sha256|id)": "(.+?)"', token.file.read_text())
    content = json.loads(token.file.read_text())
    content["tokens"][0]["expires"] = "2020-01-02T03:04:05Z"
    token.file.write_text(json.dumps(content))
    assert token("list") == 0
    first, second = token.out.splitlines()
    assert re.fullmatch(r"someone@example\.com  viewer  until 20\d\d-\d\d-\d\d \d\d:\d\d UTC", first)
    assert second == "zoe                  admin   expired 2020-01-02 03:04 UTC"
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret in token.out]


def test_list_without_tokens_writes_to_stderr_only(token: Command) -> None:
    token.file.write_text(serialize([]))
    assert token("list") == 0
    assert (token.out, token.err) == ("", "no tokens\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new", "--name", "a b", "--role", "viewer"), "Token name: got 'a b'"),
        (("new", "--name", "a", "--role", "viewer", "--days", "0"), "got 0 days, expected more than 0"),
        (("new", "--name", "a", "--role", "viewer", "--days", "nan"), "nan days"),
        (("list",), "does not exist"),
        (("revoke", "a"), "does not exist"),
    ],
)
def test_failed_command_exits_1_with_a_one_line_message(arguments: tuple[str, ...], words: str, token: Command) -> None:
    assert token(*arguments) == 1
    assert words in token.err
    assert token.err.count("\n") == 1
    assert token.out == ""
    assert not token.file.exists()


@pytest.mark.parametrize("arguments", [("new", "--name", "a", "--role", "viewer"), ("list",), ("revoke", "a")])
def test_invalid_document_is_not_changed(arguments: tuple[str, ...], token: Command) -> None:
    token.file.write_text("{invalid")
    assert token(*arguments) == 1
    assert "are invalid: it is not JSON" in token.err
    assert token.file.read_text() == "{invalid"


@pytest.mark.parametrize(
    ("arguments", "store", "words"),
    [
        (("new", "--name", "a", "--role", "owner"), None, "'viewer', 'editor', 'admin'"),
        (("new", "--role", "viewer"), None, "--name"),
        (("new", "--name", "a"), None, "--role"),
        (("new", "--name", "a", "--role", "viewer", "--days", "soon"), None, "--days"),
        (("revoke",), None, "name"),
        (("list",), (), "one of the arguments --file --secret is required"),
        (("list",), ("--file", "a", "--secret", "b"), "not allowed with"),
        ((), (), "ACTION"),
        (("make",), None, "'make'"),
    ],
)
def test_invalid_command_line_exits_2_with_the_usage(
    arguments: tuple[str, ...], store: tuple[str, ...] | None, words: str, token: Command
) -> None:
    assert token(*arguments, store=store) == 2
    assert token.err.startswith("usage: python -m proxy_app token")
    assert words in token.err
    assert not token.file.exists()


def test_tokens_can_be_stored_in_secrets_manager(
    token: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_aws_home(tmp_path, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    store = ("--secret", "s")
    with serving(ContestedSecret("")) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        assert token("new", "--name", "ci", "--role", "editor", store=store) == 0
        [stored] = deserialize(endpoint.value, "here")
        assert (stored.name, stored.role) == ("ci", Role.EDITOR)
        assert token.out.strip() not in "".join(received.body.decode() for received in endpoint.requests)
        assert token("list", store=store) == 0
        assert token.out.startswith("ci  editor  until ")
        assert token("revoke", "ci", store=store) == 0
        assert deserialize(endpoint.value, "here") == []
    with serving(ContestedSecret(serialize([Token.new("concurrent", Role.VIEWER, 1)[0]]))) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        assert token("new", "--name", "ci", "--role", "editor", store=store) == 1
        assert token.err == "The secret s was changed at the same time: try again.\n"
        assert token.out == "", "a token that was not stored is not printed"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ["MLFLOW_PROXY_UPSTREAM_URL=http://127.0.0.1:5000", "token new --name me --role admin", "healthcheck"]),
        (("token",), ["create a token; it is printed once", "list names, roles and expiry", "remove a token"]),
        (
            ("token", "new"),
            [
                "name of its user or program, as the access log shows it",
                "{viewer,editor,admin}",
                "(default: 90)",
                "--secret",
            ],
        ),
        (("token", "revoke"), ["its name", "MLFLOW_PROXY_TOKENS_FILE"]),
    ],
)
def test_help_lists_commands_and_options(
    command: tuple[str, ...], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["proxy", *command, "--help"])
    monkeypatch.setitem(os.environ, "COLUMNS", "100")
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(" ".join(["usage: python -m proxy_app", *command]))
    for word in words:
        assert word in " ".join(text.split())
