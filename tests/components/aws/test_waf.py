"""AWS WAF: what it lets MLflow's clients do, what it refuses, and what it writes down."""

import functools
from typing import Any

import pytest

from preview.graph import Graph

from .helpers import KEY, only, statements
from .test_load_balancer import recorded

ACL = "aws:wafv2/webAcl:WebAcl"
LOG = "aws:cloudwatch/logGroup:LogGroup"
# Capacity and rules of AWS's groups, on 22 November 2026.
# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-list.html
RULES = {
    "AWSManagedRulesCommonRuleSet": (
        700,
        "NoUserAgent_HEADER UserAgent_BadBots_HEADER SizeRestrictions_QUERYSTRING SizeRestrictions_Cookie_HEADER "
        "SizeRestrictions_BODY SizeRestrictions_URIPATH EC2MetaDataSSRF_BODY EC2MetaDataSSRF_COOKIE "
        "EC2MetaDataSSRF_URIPATH EC2MetaDataSSRF_QUERYARGUMENTS GenericLFI_QUERYARGUMENTS GenericLFI_URIPATH "
        "GenericLFI_BODY RestrictedExtensions_URIPATH RestrictedExtensions_QUERYARGUMENTS GenericRFI_QUERYARGUMENTS "
        "GenericRFI_BODY GenericRFI_URIPATH CrossSiteScripting_COOKIE CrossSiteScripting_QUERYARGUMENTS "
        "CrossSiteScripting_BODY CrossSiteScripting_URIPATH",
    ),
    "AWSManagedRulesKnownBadInputsRuleSet": (
        200,
        "JavaDeserializationRCE_HEADER JavaDeserializationRCE_BODY JavaDeserializationRCE_URIPATH "
        "JavaDeserializationRCE_QUERYSTRING Host_localhost_HEADER PROPFIND_METHOD ExploitablePaths_URIPATH "
        "Log4JRCE_HEADER Log4JRCE_QUERYSTRING Log4JRCE_BODY Log4JRCE_URIPATH ReactJSRCE_BODY",
    ),
    "AWSManagedRulesAmazonIpReputationList": (
        25,
        "AWSManagedIPReputationList AWSManagedReconnaissanceList AWSManagedIPDDoSList",
    ),
}
A_RATE_RULE = 2


@functools.cache
def graph() -> Graph:
    return recorded(waf=True, rate_limit_per_ip=4321, access_log_retention_days=100, kms_key_arn=KEY)


def rules() -> list[dict[str, Any]]:
    return only(graph(), ACL).inputs["rules"]


def counted() -> dict[str, set[str]]:
    """By group: the rules that refuse nothing."""
    groups = [rule["statement"]["managedRuleGroupStatement"] for rule in rules() if "overrideAction" in rule]
    for override in [one for group in groups for one in group.get("ruleActionOverrides", [])]:
        assert override["actionToUse"] == {"count": {}}
    return {group["name"]: {one["name"] for one in group.get("ruleActionOverrides", [])} for group in groups}


def test_no_body_is_refused_for_what_it_says_or_how_long_it_is() -> None:
    for group, names in counted().items():
        assert {rule for rule in RULES[group][1].split() if rule.endswith("_BODY")} <= names


def test_a_port_forward_may_call_itself_localhost() -> None:
    assert "Host_localhost_HEADER" in counted()["AWSManagedRulesKnownBadInputsRuleSet"]


def test_every_exception_is_a_rule_of_awss_and_most_rules_are_none() -> None:
    assert counted().keys() == RULES.keys()
    for group, names in counted().items():
        there = set(RULES[group][1].split())
        assert names <= there
        assert len(names) < len(there) / 2


def test_groups_are_in_force() -> None:
    managed = [rule for rule in rules() if "managedRuleGroupStatement" in rule["statement"]]
    assert [rule["overrideAction"] for rule in managed] == [{"none": {}}] * len(RULES)


def test_rules_are_tried_one_after_the_other_and_fit_into_one_acl() -> None:
    assert [rule["priority"] for rule in rules()] == list(range(len(rules())))
    assert A_RATE_RULE + sum(RULES[group][0] for group in counted()) <= 1500


def test_an_address_that_asks_too_much_is_told_to_wait() -> None:
    (rate,) = [rule for rule in rules() if "rateBasedStatement" in rule["statement"]]
    assert rate["statement"]["rateBasedStatement"] == {
        "aggregateKeyType": "IP",
        "limit": 4321,
        "evaluationWindowSec": 300,
    }
    answer = rate["action"]["block"]["customResponse"]
    assert answer["responseCode"] == 429
    (body,) = only(graph(), ACL).inputs["customResponseBodies"]
    assert body["key"] == answer["customResponseBodyKey"]


def test_it_leaves_the_load_balancer_before_that_goes_and_before_another_comes() -> None:
    association = only(graph(), "aws:wafv2/webAclAssociation:WebAclAssociation")
    assert only(graph(), "aws:lb/loadBalancer:LoadBalancer").urn in association.dependencies
    assert only(graph(), ACL).urn in association.dependencies
    assert association.delete_before_replace


def test_refused_requests_are_logged_without_what_callers_prove_themselves_by() -> None:
    logging = only(graph(), "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration")
    hidden = {one["singleHeader"]["name"] for one in logging.inputs["redactedFields"]}
    assert hidden == {"authorization", "cookie"}
    assert logging.inputs["logDestinationConfigs"] == [only(graph(), LOG, "proxy-waf").outputs["arn"]]
    # Samples are not redacted.
    shown = [rule["visibilityConfig"] for rule in rules()] + [only(graph(), ACL).inputs["visibilityConfig"]]
    assert not any(one["sampledRequestsEnabled"] for one in shown)


def test_its_log_ends_encrypted_and_no_sooner_than_the_access_logs() -> None:
    log = only(graph(), LOG, "proxy-waf").inputs
    assert log["name"].startswith("aws-waf-logs-")
    assert log["retentionInDays"] == 120
    assert log["kmsKeyId"] == KEY


def test_aws_need_not_make_a_policy_that_would_stay_behind() -> None:
    allowed = only(graph(), "aws:cloudwatch/logResourcePolicy:LogResourcePolicy")
    (statement,) = statements(allowed.inputs["policyDocument"])
    assert statement["Resource"] == only(graph(), LOG, "proxy-waf").outputs["arn"] + ":log-stream:*"
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    logging = only(graph(), "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration")
    assert allowed.urn in logging.dependencies


@pytest.mark.parametrize(("days", "kept"), [(1, 1), (365, 365), (3650, 3653)])
def test_every_age_of_access_logs_is_one_that_cloudwatch_can_keep(days: int, kept: int) -> None:
    assert only(recorded(waf=True, access_log_retention_days=days), LOG, "proxy-waf").inputs["retentionInDays"] == kept


def test_it_is_there_when_it_is_wanted_only() -> None:
    assert recorded().of(ACL) == []
