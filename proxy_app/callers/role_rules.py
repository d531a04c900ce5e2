"""Which role somebody gets who has signed in elsewhere: by group, by e-mail address, by its domain.

The rules are a setting, with commas or new lines between them; of those that fit, the highest role counts::

    group:ml-admins=admin, email:ann@example.org=editor, domain:example.org=viewer
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from .. import errors
from ..setting_table import SettingsError
from . import Caller, Role

log = logging.getLogger(__name__)

_RULE = re.compile(r"(\w+)\s*:\s*(.*?)\s*=\s*(\w+)")
# One address; in ASCII, since other letters may become these when their case is changed.
_EMAIL = re.compile(r"[^@\s,;<>]+@([^@\s,;<>]+)")
_DOMAIN = re.compile(r"[\w-]+(\.[\w-]+)*")
_ALLOWED = (
    "it takes group:NAME=ROLE, email:ADDRESS=ROLE and domain:NAME=ROLE, with commas between; ROLE is viewer, editor "
    "or admin"
)
# A name goes into a line of the log for each request.
_LONGEST_NAME = 256


class Rule(NamedTuple):
    """``value`` is a group as it is called, an e-mail address or a domain in lower case."""

    kind: str
    value: str
    role: Role


def parse(text: str) -> list[Rule]:
    """The rules. Raises SettingsError, with a line for each that is none."""
    parts = [part.strip() for part in re.split(r"[,\n]", text)]
    rules = {part: _rule(part) for part in parts if part}
    wrong = [part for part, rule in rules.items() if rule is None]
    if wrong or not rules:
        shown = wrong or [text]
        raise SettingsError(
            "\n".join([f"MLFLOW_PROXY_ROLE_RULES: {part!r} is not a rule; {_ALLOWED}." for part in shown])
        )
    return [rule for rule in rules.values() if rule]


def _rule(text: str) -> Rule | None:
    found = _RULE.fullmatch(text)
    if found is None:
        return None
    kind, value, role = found.groups()
    forms = {"group": bool(value), "email": _EMAIL.fullmatch(value), "domain": _DOMAIN.fullmatch(value)}
    roles = {role.label: role for role in Role}
    if not forms.get(kind) or role not in roles or (kind != "group" and not value.isascii()):
        return None
    return Rule(kind, value if kind == "group" else value.lower(), roles[role])


class Person(NamedTuple):
    """Who has signed in; empty is what nobody vouches for."""

    name: str
    email: str
    domain: str
    groups: frozenset[str]

    @classmethod
    def of(cls, claims: Mapping[str, Any], groups_claim: str = "") -> "Person":
        """Whom these claims of OpenID Connect's name; without a claim for groups they are in none."""
        email, domain = _verified_email(claims)
        subject = claims.get("sub")
        name = email or (subject if isinstance(subject, str) else "")
        return cls(name[:_LONGEST_NAME], email, domain, _groups(claims.get(groups_claim)))


class RoleRules:
    """Makes callers of people who have signed in."""

    def __init__(self, text: str) -> None:
        """Raises SettingsError."""
        self._rules = parse(text)

    def caller(self, person: Person, way: str) -> Caller:
        """Refusal (403) for somebody to whom no rule gives a role."""
        name = person.name
        if not name:
            raise errors.forbidden(
                "You are signed in without a name: the sign-in tells neither a verified e-mail address nor a sub.",
                reason="no-role",
            )
        theirs = {"email": {person.email.lower()}, "domain": {person.domain.lower()}, "group": person.groups}
        roles = [rule.role for rule in self._rules if rule.value in theirs[rule.kind]]
        if not roles:
            log.info("No rule gives %s a role.", name, extra={"event": "sign-in"})
            # Not 401: signing in once more would change nothing.
            raise errors.forbidden(
                f"You are signed in as {name}, and no rule of this proxy gives this person a role. "
                "Ask whoever runs it (MLFLOW_PROXY_ROLE_RULES).",
                reason="no-role",
            )
        return Caller(name, max(roles), way)


def _verified_email(claims: Mapping[str, Any]) -> tuple[str, str]:
    """(address, its domain), both empty if there is none, or if it may be anybody's."""
    email = claims.get("email")
    # Some providers write it as a string. Those that verify every address may leave it out.
    if not isinstance(email, str) or claims.get("email_verified", True) not in (True, "true"):
        return "", ""
    found = _EMAIL.fullmatch(email)
    return (email, found[1]) if found and email.isascii() else ("", "")


def _groups(named: object) -> frozenset[str]:
    if isinstance(named, str):
        named = re.split(r"[\s,]+", named)
    listed = cast("list[Any]", named) if isinstance(named, list) else []
    return frozenset(group for group in listed if isinstance(group, str))
