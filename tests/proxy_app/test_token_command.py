"""`python -m proxy_app token`, as a person or a script uses it."""

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
    """Runs the command in this process; `out` and `err` are what the last run wrote."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = file
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str, place: tuple[str, ...] | None = None) -> int:
        where = ("--file", str(self.file)) if place is None else place
        self._monkeypatch.setattr(sys, "argv", ["proxy", "token", *arguments, *where])
        self._capsys.readouterr()
        try:
            code = main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else -1
        self.out, self.err = self._capsys.readouterr()
        return code

    def names(self) -> list[str]:
        return [token.name for token in deserialize(self.file.read_text(), "here")]


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path / "tokens.json", monkeypatch, capsys)


def test_a_script_gets_the_token_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    run = subprocess.run(
        [sys.executable, "-m", "proxy_app", "token", "new", "--name", "ci", "--role", "editor", "--file", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert TOKEN.fullmatch(run.stdout)
    assert run.stdout.strip() not in run.stderr + file.read_text()
    assert "editor 'ci', until 20" in run.stderr
    assert "shown only once" in run.stderr
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_new_token_has_its_role_and_its_days(token: Command) -> None:
    assert token("new", "--name", "ci", "--role", "viewer", "--days", "0.5") == 0
    assert TOKEN.fullmatch(token.out)
    assert token("new", "--name", "me", "--role", "admin") == 0
    half_a_day, usual = deserialize(token.file.read_text(), "here")
    assert (half_a_day.role, (half_a_day.expires - half_a_day.created).total_seconds()) == (Role.VIEWER, 43200)
    assert (usual.role, (usual.expires - usual.created).days) == (Role.ADMIN, 90)


def test_a_name_is_given_once(token: Command) -> None:
    assert token("new", "--name", "ci", "--role", "editor") == 0
    before = token.file.read_text()
    assert token("new", "--name", "ci", "--role", "admin") == 1
    assert token.err == "The token 'ci' exists: revoke it first, or choose another name.\n"
    assert token.out == ""
    assert token.file.read_text() == before


def test_revoking_takes_one_token_away(token: Command) -> None:
    for name in ("a", "b"):
        token("new", "--name", name, "--role", "editor")
    assert token("revoke", "a") == 0
    assert token.names() == ["b"]
    assert token.out == ""
    assert token.err == "revoked 'a'; running proxies reject it within MLFLOW_PROXY_TOKENS_RELOAD_SECONDS (15)\n"
    assert token("revoke", "a") == 1
    assert token.err == "The token 'a' does not exist.\n"
    assert token.names() == ["b"]
    assert token("new", "--name", "a", "--role", "viewer") == 0, "its name is free again"


def test_the_list_shows_who_may_do_what_until_when(token: Command) -> None:
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


def test_an_empty_list_says_so_beside_it(token: Command) -> None:
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
def test_what_cannot_be_done_is_one_sentence_and_exit_code_1(
    arguments: tuple[str, ...], words: str, token: Command
) -> None:
    assert token(*arguments) == 1
    assert words in token.err
    assert token.err.count("\n") == 1
    assert token.out == ""
    assert not token.file.exists()


@pytest.mark.parametrize("arguments", [("new", "--name", "a", "--role", "viewer"), ("list",), ("revoke", "a")])
def test_a_document_that_is_wrong_is_left_alone(arguments: tuple[str, ...], token: Command) -> None:
    token.file.write_text("{garbled")
    assert token(*arguments) == 1
    assert "are invalid: it is not JSON" in token.err
    assert token.file.read_text() == "{garbled"


@pytest.mark.parametrize(
    ("arguments", "place", "words"),
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
def test_a_wrong_command_line_says_how_it_goes(
    arguments: tuple[str, ...], place: tuple[str, ...] | None, words: str, token: Command
) -> None:
    assert token(*arguments, place=place) == 2
    assert token.err.startswith("usage: python -m proxy_app token")
    assert words in token.err
    assert not token.file.exists()


def test_a_secret_takes_the_place_of_a_file(token: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_aws_home(tmp_path, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    place = ("--secret", "s")
    with serving(ContestedSecret("")) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        assert token("new", "--name", "ci", "--role", "editor", place=place) == 0
        [kept] = deserialize(endpoint.value, "here")
        assert (kept.name, kept.role) == ("ci", Role.EDITOR)
        assert token.out.strip() not in "".join(received.body.decode() for received in endpoint.seen)
        assert token("list", place=place) == 0
        assert token.out.startswith("ci  editor  until ")
        assert token("revoke", "ci", place=place) == 0
        assert deserialize(endpoint.value, "here") == []
    with serving(ContestedSecret(serialize([Token.new("theirs", Role.VIEWER, 1)[0]]))) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.url)
        assert token("new", "--name", "ci", "--role", "editor", place=place) == 1
        assert token.err == "The secret s was changed at the same time: try again.\n"
        assert token.out == "", "a token that is not kept is not shown"


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
def test_help_says_what_to_type(
    command: tuple[str, ...], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["proxy", *command, "--help"])
    monkeypatch.setitem(os.environ, "COLUMNS", "100")
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(" ".join(["usage: python -m proxy_app", *command]))
    for word in words:
        assert word in " ".join(text.split())
