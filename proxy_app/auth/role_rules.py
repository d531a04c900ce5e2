"""Role rules: the role of a user who signed in at another system, by group, e-mail address or domain.

The rules are a setting, separated by commas or line breaks; of all that match, the highest role applies::

    group:ml-admins=admin, email:ann@example.org=editor, domain:example.org=viewer, *=viewer

``*`` matches every user who signed in, also those of whom the provider tells neither address nor groups.
"""

import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .. import errors
from ..setting_table import Problem, SettingsError, SettingTable, setting
from . import ROLES, Authenticator, Principal, Role

if TYPE_CHECKING:
    from ..settings import Settings

log = logging.getLogger(__name__)

_RULE = re.compile(r"(?:(?P<everyone>\*)|(?P<kind>\w+)\s*:\s*(?P<value>.*?))\s*=\s*(?P<role>\w+)")
# One address; ASCII only, since other letters may become ASCII ones when their case is changed.
_EMAIL = re.compile(r"[^@\s,;<>]+@([^@\s,;<>]+)")
_DOMAIN = re.compile(r"[\w-]+(\.[\w-]+)*")
_EXPECTED = "group:NAME=ROLE, email:ADDRESS=ROLE, domain:NAME=ROLE or *=ROLE, where ROLE is viewer, editor or admin"
# The name is a part of each line of the access log.
_MAX_NAME = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoleRulesSettings(SettingTable):
    """The setting with the role rules."""

    title = "Roles of users who sign in"

    role_rules: str = setting(
        "MLFLOW_PROXY_ROLE_RULES",
        "",
        "Roles of users who sign in, such as group:ml-admins=admin, email:ann@example.org=editor, "
        "domain:example.org=viewer; * stands for every user who signs in; of all rules that match, the highest role "
        "applies.",
    )


def conflicts(settings: "Settings", authenticators: Sequence[type[Authenticator]]) -> Iterator[Problem]:
    """Rules that are missing for an enabled authenticator, and rules without effect."""
    rules = settings.section(RoleRulesSettings).role_rules
    users = [kind for kind in authenticators if kind.uses_role_rules]
    enabled = [kind for kind in users if kind.enabled(settings)]
    about = ("MLFLOW_PROXY_ROLE_RULES", *(name for kind in users for name in kind.settings_table.names()))
    if enabled and not rules:
        yield about, f"{enabled[0].label} requires MLFLOW_PROXY_ROLE_RULES: without it no user has a role."
    if rules and not enabled:
        labels = " or ".join(kind.label for kind in users)
        yield about, f"MLFLOW_PROXY_ROLE_RULES has no effect without {labels}: set one of them, or remove it."


class Rule(NamedTuple):
    """``kind`` is group, email, domain or everyone.

    ``value`` is a group name, an address or domain in lower case, or ``*``.
    """

    kind: str
    value: str
    role: Role


def parse(text: str) -> list[Rule]:
    """The rules in ``text``. Raises SettingsError with a line for each invalid one, and for none."""
    parts = [part.strip() for part in re.split(r"[,\n]", text)]
    rules = {part: _rule(part) for part in parts if part}
    wrong = [part for part, rule in rules.items() if rule is None]
    if wrong or not rules:
        shown = wrong or [text]
        raise SettingsError(
            "\n".join([f"MLFLOW_PROXY_ROLE_RULES: got {part!r}, expected {_EXPECTED}." for part in shown])
        )
    return [rule for rule in rules.values() if rule]


def _rule(text: str) -> Rule | None:
    found = _RULE.fullmatch(text)
    if found is None:
        return None
    roles, role = {role.label: role for role in ROLES}, found["role"]
    if found["everyone"]:
        return Rule("everyone", "*", roles[role]) if role in roles else None
    kind, value = found["kind"], found["value"]
    forms = {"group": bool(value), "email": _EMAIL.fullmatch(value), "domain": _DOMAIN.fullmatch(value)}
    if not forms.get(kind) or role not in roles or (kind != "group" and not value.isascii()):
        return None
    return Rule(kind, value if kind == "group" else value.lower(), roles[role])


class User(NamedTuple):
    """A user who signed in at another system; a field is empty if the provider does not verify it."""

    name: str
    email: str
    domain: str
    groups: frozenset[str]

    @classmethod
    def of(cls, claims: Mapping[str, Any], groups_claim: str = "") -> "User":
        """The user in OpenID Connect claims; without ``groups_claim`` the user is in no group."""
        email, domain = _verified_email(claims)
        subject = claims.get("sub")
        name = email or (subject if isinstance(subject, str) else "")
        return cls(name[:_MAX_NAME], email, domain, _groups(claims.get(groups_claim)))


class RoleRules:
    """Assigns roles to users."""

    def __init__(self, text: str) -> None:
        """``text`` is the setting. Raises SettingsError."""
        self._rules = parse(text)
        self.for_everyone = any(rule.kind == "everyone" for rule in self._rules)

    def principal(self, user: User, auth_method: str) -> Principal:
        """The principal with the highest role of all matching rules. ApiError 403 if none matches."""
        name = user.name
        if not name:
            raise errors.forbidden(
                "Your sign-in has neither a verified e-mail address nor a subject (sub).", reason="no-role"
            )
        values = {
            "email": {user.email.lower()},
            "domain": {user.domain.lower()},
            "group": user.groups,
            "everyone": {"*"},
        }
        roles = [rule.role for rule in self._rules if rule.value in values[rule.kind]]
        if not roles:
            log.info("No role rule matches %s.", name, extra={"event": "no-role"})
            # Not 401: signing in again would change nothing.
            raise errors.forbidden(
                f"You are signed in as {name}, but no role rule matches you. "
                "Ask the administrator of this deployment (MLFLOW_PROXY_ROLE_RULES).",
                reason="no-role",
            )
        return Principal(name, max(roles), auth_method, user.groups)


def _verified_email(claims: Mapping[str, Any]) -> tuple[str, str]:
    """(address, its domain); both empty if there is none, or if the provider has not verified it."""
    email = claims.get("email")
    # Some providers send email_verified as a string; those that verify every address may omit it.
    if not isinstance(email, str) or claims.get("email_verified", True) not in (True, "true"):
        return "", ""
    found = _EMAIL.fullmatch(email)
    return (email, found[1]) if found and email.isascii() else ("", "")


def _groups(claim: object) -> frozenset[str]:
    if isinstance(claim, str):
        claim = re.split(r"[\s,]+", claim)
    listed = cast("list[Any]", claim) if isinstance(claim, list) else []
    return frozenset(group for group in listed if isinstance(group, str))
