"""``python -m proxy_app token``: make, list and revoke tokens."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from . import Role
from .token_store import EMPTY, FileStore, SecretStore, StoreError, TokenStore
from .tokens import Token, TokenError, dump, parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What stands behind ``token`` on the command line."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    new = actions.add_parser("new", help="make a token; it is shown once, on standard output")
    new.add_argument("--name", required=True, help="who uses it; logs show this name")
    new.add_argument("--role", required=True, choices=[role.label for role in Role], help="what it may do")
    new.add_argument("--days", type=float, default=90, help="when it expires (default: 90)")
    listing = actions.add_parser("list", help="show names, roles and expiry")
    revoke = actions.add_parser("revoke", help="remove a token; the proxy follows at its next reload")
    revoke.add_argument("name", help="the name it was made with")

    for action in (new, listing, revoke):
        place = action.add_mutually_exclusive_group(required=True)
        place.add_argument("--file", type=Path, help="the file that MLFLOW_PROXY_TOKENS_FILE names")
        place.add_argument("--secret", help="the secret that MLFLOW_PROXY_TOKENS_SECRET names")


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says; 0, or 1 with a sentence on standard error."""
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
            raise TokenError(f"There is a token {name!r} already: revoke it first, or choose another name.")
        return [*tokens, token]

    _edit(store, add)
    print(f"kept as a hash in {store.name}", file=sys.stderr)
    print(f"{role.label} {name!r}, until {token.expires:%Y-%m-%d}; this is the only time it is shown:", file=sys.stderr)
    print(plain)


def _list(store: TokenStore) -> None:
    now = datetime.now(UTC)
    tokens = parse(store.read(), store.name)
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
            raise TokenError(f"There is no token {name!r}.")
        return left

    store.read()  # a wrong place must not look like a token that is gone already
    _edit(store, remove)
    print(f"revoked {name!r}; a running proxy follows within MLFLOW_PROXY_TOKENS_RELOAD_SECONDS (15)", file=sys.stderr)


def _edit(store: TokenStore, change: Callable[[list[Token]], list[Token]]) -> None:
    store.change(lambda document: dump(change(parse(document or EMPTY, store.name))))
