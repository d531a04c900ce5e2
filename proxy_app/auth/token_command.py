"""``python -m proxy_app token``: create, list and revoke tokens."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from . import ROLES, Role
from .token_store import EMPTY, FileStore, SecretStore, StoreError, TokenStore
from .tokens import Token, TokenError, deserialize, serialize


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``token`` and their arguments to its parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    new = actions.add_parser("new", help="create a token; it is printed once, to standard output")
    new.add_argument("--name", required=True, help="name of its user or program, as the access log shows it")
    new.add_argument("--role", required=True, choices=[role.label for role in ROLES], help="its role")
    new.add_argument("--days", type=float, default=90, help="days until it expires (default: 90)")
    listing = actions.add_parser("list", help="list names, roles and expiry")
    revoke = actions.add_parser("revoke", help="remove a token; running proxies reject it from their next reload")
    revoke.add_argument("name", help="its name")

    for action in (new, listing, revoke):
        location = action.add_mutually_exclusive_group(required=True)
        location.add_argument("--file", type=Path, help="the file of MLFLOW_PROXY_TOKENS_FILE")
        location.add_argument("--secret", help="the secret of MLFLOW_PROXY_TOKENS_SECRET")


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Returns the exit code: 0, or 1 with a message on standard error."""
    store: TokenStore = FileStore(arguments.file) if arguments.file else SecretStore(arguments.secret)
    try:
        if arguments.action == "new":
            _new(store, arguments.name, Role[arguments.role.upper()], arguments.days)
        elif arguments.action == "list":
            _list(store)
        else:
            _revoke(store, arguments.name)
    except (TokenError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _new(store: TokenStore, name: str, role: Role, days: float) -> None:
    token, plain = Token.new(name, role, days)

    def add(tokens: list[Token]) -> list[Token]:
        if any(other.name == name for other in tokens):
            raise TokenError(f"The token {name!r} exists: revoke it first, or choose another name.")
        return [*tokens, token]

    _update(store, add)
    print(f"stored as a hash in {store.name}", file=sys.stderr)
    print(f"{role.label} {name!r}, until {token.expires:%Y-%m-%d}; shown only once:", file=sys.stderr)
    print(plain)


def _list(store: TokenStore) -> None:
    now = datetime.now(UTC)
    tokens = deserialize(store.read(), store.name)
    width = max([len(token.name) for token in tokens], default=4)
    for token in sorted(tokens, key=lambda token: token.name):
        end = "expired" if token.expires <= now else "until"
        print(f"{token.name:<{width}}  {token.role.label:<6}  {end} {token.expires:%Y-%m-%d %H:%M} UTC")
    if not tokens:
        print("no tokens", file=sys.stderr)


def _revoke(store: TokenStore, name: str) -> None:
    def remove(tokens: list[Token]) -> list[Token]:
        left = [token for token in tokens if token.name != name]
        if len(left) == len(tokens):
            raise TokenError(f"The token {name!r} does not exist.")
        return left

    store.read()  # a wrong file or secret must not look like a token that was revoked before
    _update(store, remove)
    print(
        f"revoked {name!r}; running proxies reject it within MLFLOW_PROXY_TOKENS_RELOAD_SECONDS (15)", file=sys.stderr
    )


def _update(store: TokenStore, change: Callable[[list[Token]], list[Token]]) -> None:
    store.update(lambda document: serialize(change(deserialize(document or EMPTY, store.name))))
