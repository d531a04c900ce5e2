"""Role rules: parsing of MLFLOW_PROXY_ROLE_RULES, and the role of a user by claims."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.auth import Principal, Role
from proxy_app.auth.role_rules import RoleRules, Rule, User, parse
from proxy_app.errors import ApiError
from proxy_app.setting_table import SettingsError

RULES = "group:ml-admins=admin, email:ann@example.org=editor, domain:example.org=viewer"
BOB: dict[str, Any] = {"sub": "bob-1", "email": "bob@example.org"}


def principal(claims: dict[str, Any], rules: str = RULES, groups_claim: str = "groups") -> Principal:
    return RoleRules(rules).principal(User.of(claims, groups_claim), "alb")


def assert_no_role(claims: dict[str, Any], rules: str = RULES) -> ApiError:
    with pytest.raises(ApiError) as error:
        principal(claims, rules)
    assert (error.value.status, error.value.error_code) == (403, "PERMISSION_DENIED")
    assert error.value.reason == "no-role"
    return error.value


# --- The setting


@pytest.mark.parametrize(
    "text",
    [
        RULES,
        RULES.replace(", ", ","),
        RULES.replace(", ", "\n"),
        "\n  " + RULES.replace(", ", "  ,\n\n, ") + ",\n",
        "group : ml-admins = admin,email: Ann@Example.ORG =editor,domain:EXAMPLE.org= viewer",
    ],
)
def test_rules_are_separated_by_commas_or_lines(text: str) -> None:
    assert parse(text) == [
        Rule("group", "ml-admins", Role.ADMIN),
        Rule("email", "ann@example.org", Role.EDITOR),
        Rule("domain", "example.org", Role.VIEWER),
    ]


def test_rule_for_everyone_applies_without_address_and_groups() -> None:
    assert parse("* = viewer") == [Rule("everyone", "*", Role.VIEWER)]
    rules = f"{RULES}, *=viewer"
    assert principal({"sub": "eve"}, rules).role is Role.VIEWER
    assert principal({"sub": "bob", "email": "bob@example.com"}, rules).role is Role.VIEWER
    # The highest role of all matching rules.
    assert principal({"sub": "ann", "email": "ann@example.org"}, rules).role is Role.EDITOR
    assert principal({"sub": "ann", "groups": ["ml-admins"]}, rules).role is Role.ADMIN
    # A group of this name is only a group.
    assert principal({"sub": "ann", "groups": ["*"]}, "group:*=admin").role is Role.ADMIN
    assert_no_role({"sub": "bob"}, "group:*=admin")
    # Without a name for the log there is no principal.
    assert_no_role({}, rules)


def test_group_name_is_used_unchanged() -> None:
    assert parse("group:ML Admins/a=b:c (old)=admin") == [Rule("group", "ML Admins/a=b:c (old)", Role.ADMIN)]


@pytest.mark.parametrize(
    "invalid",
    [
        "admin",
        "ml-admins=admin",
        "group:ml-admins",
        "group:ml-admins=owner",
        "group:ml-admins=Admin",
        "group:ml-admins=",
        "group:=admin",
        "groups:ml-admins=admin",
        "*",
        "*=owner",
        "**=viewer",
        "*:a=viewer",
        "Group:ml-admins=admin",
        "user:ann=admin",
        "email:ann=editor",
        "email:@example.org=editor",
        "email:ann@=editor",
        "email:ann@b@example.org=editor",
        "email:änn@example.org=editor",
        "domain:@example.org=viewer",
        "domain:*.example.org=viewer",
        "domain:*=viewer",
        "domain:=viewer",
        "domain:.org=viewer",
        "domain:exämple.org=viewer",
        "domain:example.org=viewer;",
    ],
)
def test_invalid_rule_is_reported_with_the_expected_forms(invalid: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(f"{RULES}, {invalid}")
    [line] = str(error.value).splitlines()
    assert line == (
        f"MLFLOW_PROXY_ROLE_RULES: got {invalid!r}, expected group:NAME=ROLE, email:ADDRESS=ROLE, domain:NAME=ROLE or "
        "*=ROLE, where ROLE is viewer, editor or admin."
    )


def test_all_invalid_rules_are_reported_together() -> None:
    with pytest.raises(SettingsError) as error:
        parse(f"a, {RULES}, b")
    assert [line.split()[2] for line in str(error.value).splitlines()] == ["'a',", "'b',"]


@pytest.mark.parametrize("text", [",", "\n,\n"])
def test_setting_without_a_rule_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match="expected group:NAME=ROLE"):
        parse(text)


@given(st.text(max_size=20) | st.from_regex(r"(group|email|domain):[a-z@.]{0,9}=(viewer|admin|x)", fullmatch=True))
def test_any_text_is_parsed_or_raises_an_error_with_the_name_of_the_setting(text: str) -> None:
    try:
        rules = parse(text)
    except SettingsError as error:
        assert str(error).startswith("MLFLOW_PROXY_ROLE_RULES: ")  # noqa: PT017
    else:
        assert rules
        assert all(rule.kind in {"group", "email", "domain"} and rule.value for rule in rules)


# --- Matching


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({}, Role.VIEWER),
        ({"email": "ann@example.org"}, Role.EDITOR),
        ({"groups": ["ml-admins"]}, Role.ADMIN),
        ({"email": "ann@example.org", "groups": ["others", "ml-admins"]}, Role.ADMIN),
        ({"email": "bob@elsewhere.example", "groups": ["ml-admins"]}, Role.ADMIN),
    ],
)
def test_highest_matching_role_applies(claims: dict[str, Any], role: Role) -> None:
    for rules in (RULES, ",".join(reversed(RULES.split(",")))):
        assert principal({**BOB, **claims}, rules).role is role


@pytest.mark.parametrize("email", ["Ann@Example.ORG", "ANN@EXAMPLE.ORG", "ann@example.org"])
def test_addresses_and_domains_are_case_insensitive(email: str) -> None:
    assert principal({"email": email}) == Principal(email, Role.EDITOR, "alb")
    assert principal({"email": email}, "domain:Example.Org=viewer").role is Role.VIEWER


@pytest.mark.parametrize(
    "groups",
    [["ml-admins"], ["a", 5, None, "ml-admins"], "ml-admins", "a ml-admins b", "a,ml-admins", "a, ml-admins ,b"],
)
def test_groups_claim_is_a_list_or_a_separated_string(groups: Any) -> None:
    assert principal({"sub": "1", "groups": groups}).role is Role.ADMIN


@pytest.mark.parametrize(
    "groups",
    [None, True, 5, {}, {"ml-admins": 1}, [], [["ml-admins"]], ["ML-Admins"], ["ml-admins-2"], ["a ml-admins"], ""],
)
def test_similar_group_does_not_match(groups: Any) -> None:
    assert_no_role({"sub": "1", "groups": groups})


def test_groups_claim_is_configurable() -> None:
    claims = {"sub": "1", "custom:groups": "ml-admins", "groups": ["others"]}
    assert principal(claims, groups_claim="custom:groups").role is Role.ADMIN
    assert_no_role(claims)


@pytest.mark.parametrize("verified", [False, "false", "TRUE", "", None, 0, [], ["true"], {}])
def test_unverified_address_matches_no_rule_and_is_not_the_name(verified: Any) -> None:
    claims = {"sub": "attacker-1", "email": "ann@example.org", "email_verified": verified}
    assert "ann@" not in assert_no_role(claims).message
    # Nor is it the principal's name: the log would attribute requests to Ann.
    assert principal({**claims, "groups": ["ml-admins"]}) == Principal("attacker-1", Role.ADMIN, "alb")


@pytest.mark.parametrize("verified", [{}, {"email_verified": True}, {"email_verified": "true"}])
def test_verified_address_matches(verified: dict[str, Any]) -> None:
    assert principal({"sub": "1", "email": "ann@example.org", **verified}) == Principal(
        "ann@example.org", Role.EDITOR, "alb"
    )


@pytest.mark.parametrize(
    "email",
    [
        "ann@example.org.evil.example",
        "ann@sub.example.org",
        "ann@evil-example.org",
        "example.org",
        "@example.org",
        "ann@example.org ",
        "attacker@evil.example,ann@example.org",
        "attacker@evil.example ann@example.org",
        "attacker@evil.example@example.org",
        "<ann@example.org>",
        "ann@example.org\n",
        "ann@example.or\u0261",
        "ann@e\u00adxample.org",
        "",
        None,
        5,
        ["ann@example.org"],
    ],
)
def test_similar_address_does_not_match(email: Any) -> None:
    assert_no_role({"sub": "1", "email": email})


def test_non_ascii_letter_that_lowercases_to_ascii_does_not_match() -> None:
    kelvin = "ann@\u212aelvin.example"
    assert kelvin.lower() == "ann@kelvin.example"
    assert_no_role({"sub": "1", "email": kelvin}, "domain:kelvin.example=admin, email:ann@kelvin.example=admin")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("ann@example.org"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=6,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["sub", "email", "email_verified", "groups"], JSON)))
def test_any_claims_give_a_named_principal_or_403(claims: dict[str, Any]) -> None:
    try:
        found = principal(claims)
    except ApiError as error:
        assert error.status == 403  # noqa: PT017
    else:
        assert 0 < len(found.name) <= 256


# --- No role


def test_user_without_a_matching_rule_gets_403_without_a_challenge(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    error = assert_no_role({"sub": "1", "email": "eve@elsewhere.example"})
    assert error.message == (
        "You are signed in as eve@elsewhere.example, but no role rule matches you. "
        "Ask the administrator of this deployment (MLFLOW_PROXY_ROLE_RULES)."
    )
    assert error.headers == ()
    assert [record.getMessage() for record in caplog.records] == ["No role rule matches eve@elsewhere.example."]


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"sub": 5}, {"email": "ann@example.org", "email_verified": False}])
def test_user_without_a_name_gets_403(claims: dict[str, Any]) -> None:
    assert (
        "neither a verified e-mail address nor a subject" in assert_no_role({**claims, "groups": ["ml-admins"]}).message
    )


def test_name_is_truncated_to_256_characters() -> None:
    assert len(principal({"sub": "x" * 9999, "groups": ["ml-admins"]}).name) == 256
