"""AWS WAF: the rules in force and those that only count, the rate limit, and the log."""

import functools
from typing import Any

import pytest

from preview.graph import Graph

from .helpers import KEY, only, statements
from .test_load_balancer import record_load_balancer

ACL = "aws:wafv2/webAcl:WebAcl"
LOG = "aws:cloudwatch/logGroup:LogGroup"
# Capacity and rules of the managed rule groups, as of 22 November 2026.
# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-list.html
MANAGED_RULES = {
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
RATE_RULE_CAPACITY = 2


@functools.cache
def graph() -> Graph:
    return record_load_balancer(waf=True, rate_limit_per_ip=4321, access_log_retention_days=100, kms_key_arn=KEY)


def rules() -> list[dict[str, Any]]:
    return only(graph(), ACL).inputs["rules"]


def counting_rules() -> dict[str, set[str]]:
    """The overridden rules of each managed rule group: they count, and do not block."""
    groups = [rule["statement"]["managedRuleGroupStatement"] for rule in rules() if "overrideAction" in rule]
    for override in [rule for group in groups for rule in group.get("ruleActionOverrides", [])]:
        assert override["actionToUse"] == {"count": {}}
    return {group["name"]: {rule["name"] for rule in group.get("ruleActionOverrides", [])} for group in groups}


def test_body_rules_count_only() -> None:
    for group, names in counting_rules().items():
        assert {rule for rule in MANAGED_RULES[group][1].split() if rule.endswith("_BODY")} <= names


def test_localhost_host_header_rule_counts_only() -> None:
    assert "Host_localhost_HEADER" in counting_rules()["AWSManagedRulesKnownBadInputsRuleSet"]


def test_overridden_rules_exist_and_are_fewer_than_half() -> None:
    assert counting_rules().keys() == MANAGED_RULES.keys()
    for group, names in counting_rules().items():
        known = set(MANAGED_RULES[group][1].split())
        assert names <= known
        assert len(names) < len(known) / 2


def test_managed_rule_groups_are_not_overridden_as_a_whole() -> None:
    managed = [rule for rule in rules() if "managedRuleGroupStatement" in rule["statement"]]
    assert [rule["overrideAction"] for rule in managed] == [{"none": {}}] * len(MANAGED_RULES)


def test_priorities_are_consecutive_and_capacity_is_within_the_limit() -> None:
    assert [rule["priority"] for rule in rules()] == list(range(len(rules())))
    assert RATE_RULE_CAPACITY + sum(MANAGED_RULES[group][0] for group in counting_rules()) <= 1500


def test_rate_limit_per_ip_responds_with_429() -> None:
    (rate,) = [rule for rule in rules() if "rateBasedStatement" in rule["statement"]]
    assert rate["statement"]["rateBasedStatement"] == {
        "aggregateKeyType": "IP",
        "limit": 4321,
        "evaluationWindowSec": 300,
    }
    response = rate["action"]["block"]["customResponse"]
    assert response["responseCode"] == 429
    (body,) = only(graph(), ACL).inputs["customResponseBodies"]
    assert body["key"] == response["customResponseBodyKey"]


def test_association_is_deleted_before_the_load_balancer_and_before_its_replacement() -> None:
    association = only(graph(), "aws:wafv2/webAclAssociation:WebAclAssociation")
    assert only(graph(), "aws:lb/loadBalancer:LoadBalancer").urn in association.dependencies
    assert only(graph(), ACL).urn in association.dependencies
    assert association.delete_before_replace


def test_log_redacts_authorization_and_cookie_and_sampling_is_off() -> None:
    logging = only(graph(), "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration")
    redacted = {field["singleHeader"]["name"] for field in logging.inputs["redactedFields"]}
    assert redacted == {"authorization", "cookie"}
    assert logging.inputs["logDestinationConfigs"] == [only(graph(), LOG, "proxy-waf").outputs["arn"]]
    # Sampled requests would not be redacted.
    visibility = [rule["visibilityConfig"] for rule in rules()] + [only(graph(), ACL).inputs["visibilityConfig"]]
    assert not any(config["sampledRequestsEnabled"] for config in visibility)


def test_log_group_is_encrypted_and_has_at_least_the_retention_of_access_logs() -> None:
    log = only(graph(), LOG, "proxy-waf").inputs
    assert log["name"].startswith("aws-waf-logs-")
    assert log["retentionInDays"] == 120
    assert log["kmsKeyId"] == KEY


def test_log_resource_policy_exists_before_logging_is_configured() -> None:
    policy = only(graph(), "aws:cloudwatch/logResourcePolicy:LogResourcePolicy")
    (statement,) = statements(policy.inputs["policyDocument"])
    assert statement["Resource"] == only(graph(), LOG, "proxy-waf").outputs["arn"] + ":log-stream:*"
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    logging = only(graph(), "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration")
    assert policy.urn in logging.dependencies


@pytest.mark.parametrize(("days", "retention"), [(1, 1), (365, 365), (3650, 3653)])
def test_retention_is_rounded_up_to_one_that_cloudwatch_logs_accepts(days: int, retention: int) -> None:
    log = only(record_load_balancer(waf=True, access_log_retention_days=days), LOG, "proxy-waf")
    assert log.inputs["retentionInDays"] == retention


def test_no_acl_unless_waf_is_set() -> None:
    assert record_load_balancer().of(ACL) == []
