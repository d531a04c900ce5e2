"""AWS WAF for the load balancer: rate limit per IP address, AWS managed rules adjusted to MLflow, and a log.

Rules on bodies count only: parameters, tags and traces contain any text, and WAF inspects 8 KB of a body.
"""

import typing

import pulumi
from pulumi_aws import cloudwatch, lb, wafv2

from .deployment import Deployment
from .identity import document
from .load_balancer_settings import LoadBalancerSettings
from .settings import RetentionDays

# AWS managed rule groups in order of priority, with the rules that count instead of block.
# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-list.html
_GROUPS = {
    "AWSManagedRulesAmazonIpReputationList": (),
    "AWSManagedRulesKnownBadInputsRuleSet": (
        "JavaDeserializationRCE_BODY",
        "Log4JRCE_BODY",
        "ReactJSRCE_BODY",
        # The Host header of a port forward.
        "Host_localhost_HEADER",
    ),
    "AWSManagedRulesCommonRuleSet": (
        "CrossSiteScripting_BODY",
        "EC2MetaDataSSRF_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
        "SizeRestrictions_BODY",
        # Over 2 KB: charts of many runs list them, and authorization codes of identity providers can be as long.
        "SizeRestrictions_QUERYSTRING",
        # Over 10 KB: sessions with many groups use up to four cookies.
        "SizeRestrictions_Cookie_HEADER",
        # Artifacts have names such as train.log and config.ini.
        "RestrictedExtensions_URIPATH",
        "RestrictedExtensions_QUERYARGUMENTS",
    ),
}
_TOO_MANY_REQUESTS = "too-many-requests"


def web_acl(
    deployment: Deployment, args: LoadBalancerSettings, balancer: lb.LoadBalancer, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """Create a web ACL and attach it to the load balancer. Returns its name in CloudWatch's dimension WebACL."""
    inside = pulumi.ResourceOptions(parent=parent)
    metric = deployment.physical_name("waf", 100)
    rules = [_rate(args.rate_limit_per_ip)]
    rules += [_managed(number, group, counted) for number, (group, counted) in enumerate(_GROUPS.items(), 1)]
    acl = wafv2.WebAcl(
        deployment.logical_name("waf"),
        scope="REGIONAL",
        default_action=wafv2.WebAclDefaultActionArgs(allow=wafv2.WebAclDefaultActionAllowArgs()),
        rules=rules,
        custom_response_bodies=[
            wafv2.WebAclCustomResponseBodyArgs(
                key=_TOO_MANY_REQUESTS,
                content_type="APPLICATION_JSON",
                # MLflow's error format, which its clients show.
                content='{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Too many requests from this address."}',
            )
        ],
        visibility_config=wafv2.WebAclVisibilityConfigArgs(
            cloudwatch_metrics_enabled=True,
            metric_name=metric,
            sampled_requests_enabled=False,
        ),
        tags=deployment.tags_for("waf"),
        opts=inside,
    )
    wafv2.WebAclAssociation(
        deployment.logical_name("waf"),
        resource_arn=balancer.arn,
        web_acl_arn=acl.arn,
        # A load balancer has one association: deleting the old one last would remove the new one
        # (pulumi/pulumi-aws#4782).
        opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True),
    )
    _logging(deployment, args.access_log_retention_days, acl, parent)
    return metric


def _rate(requests: int) -> wafv2.WebAclRuleArgs:
    # 429 instead of WAF's 403: MLflow's clients wait and retry.
    answer = wafv2.WebAclRuleActionBlockCustomResponseArgs(
        response_code=429,
        custom_response_body_key=_TOO_MANY_REQUESTS,
        response_headers=[wafv2.WebAclRuleActionBlockCustomResponseResponseHeaderArgs(name="Retry-After", value="30")],
    )
    return wafv2.WebAclRuleArgs(
        name="rate",
        priority=0,
        action=wafv2.WebAclRuleActionArgs(block=wafv2.WebAclRuleActionBlockArgs(custom_response=answer)),
        statement=wafv2.WebAclRuleStatementArgs(
            rate_based_statement=wafv2.WebAclRuleStatementRateBasedStatementArgs(
                aggregate_key_type="IP", limit=requests, evaluation_window_sec=300
            )
        ),
        visibility_config=_visibility("rate"),
    )


def _managed(priority: int, group: str, counted: tuple[str, ...]) -> wafv2.WebAclRuleArgs:
    count = wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseArgs(
        count=wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseCountArgs()
    )
    return wafv2.WebAclRuleArgs(
        name=group,
        priority=priority,
        override_action=wafv2.WebAclRuleOverrideActionArgs(none=wafv2.WebAclRuleOverrideActionNoneArgs()),
        statement=wafv2.WebAclRuleStatementArgs(
            managed_rule_group_statement=wafv2.WebAclRuleStatementManagedRuleGroupStatementArgs(
                vendor_name="AWS",
                name=group,
                rule_action_overrides=[
                    wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideArgs(
                        name=rule, action_to_use=count
                    )
                    for rule in counted
                ],
            )
        ),
        visibility_config=_visibility(group),
    )


def _visibility(metric: str) -> wafv2.WebAclRuleVisibilityConfigArgs:
    # Sampled requests would show headers with tokens to users with access to WAF.
    return wafv2.WebAclRuleVisibilityConfigArgs(
        cloudwatch_metrics_enabled=True, metric_name=metric, sampled_requests_enabled=False
    )


def _logging(deployment: Deployment, days: int, acl: wafv2.WebAcl, parent: pulumi.Resource) -> None:
    """Log blocked requests with their rule; access logs have all requests."""
    inside = pulumi.ResourceOptions(parent=parent)
    group = cloudwatch.LogGroup(
        deployment.logical_name("waf"),
        # WAF requires this prefix.
        name=pulumi.Output.concat("aws-waf-logs-", deployment.physical_name("waf", 100)),
        retention_in_days=min(allowed for allowed in typing.get_args(RetentionDays) if allowed >= days),
        kms_key_id=deployment.kms_key_arn,
        tags=deployment.tags_for("waf"),
        opts=inside,
    )
    # Without it, WAF creates one itself, which remains after destroy.
    resource_policy = cloudwatch.LogResourcePolicy(
        deployment.logical_name("waf"),
        policy_name=deployment.physical_name("waf", 100),
        policy_document=document([_delivery(deployment, group)]),
        opts=inside,
    )
    wafv2.WebAclLoggingConfiguration(
        deployment.logical_name("waf"),
        resource_arn=acl.arn,
        log_destination_configs=[group.arn],
        logging_filter=wafv2.WebAclLoggingConfigurationLoggingFilterArgs(
            default_behavior="DROP",
            filters=[
                wafv2.WebAclLoggingConfigurationLoggingFilterFilterArgs(
                    behavior="KEEP",
                    requirement="MEETS_ANY",
                    conditions=[
                        wafv2.WebAclLoggingConfigurationLoggingFilterFilterConditionArgs(
                            action_condition=(
                                wafv2.WebAclLoggingConfigurationLoggingFilterFilterConditionActionConditionArgs(
                                    action="BLOCK"
                                )
                            )
                        )
                    ],
                )
            ],
        ),
        redacted_fields=[
            wafv2.WebAclLoggingConfigurationRedactedFieldArgs(
                single_header=wafv2.WebAclLoggingConfigurationRedactedFieldSingleHeaderArgs(name=name)
            )
            for name in ("authorization", "cookie")
        ],
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[resource_policy]),
    )


def _delivery(deployment: Deployment, group: cloudwatch.LogGroup) -> dict[str, object]:
    """Allow CloudWatch log delivery to write WAF's logs, for this account.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-CWL.html
    """
    return {
        "Effect": "Allow",
        "Principal": {"Service": "delivery.logs.amazonaws.com"},
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": pulumi.Output.concat(group.arn, ":log-stream:*"),
        "Condition": {
            "StringEquals": {"aws:SourceAccount": deployment.account},
            "ArnLike": {"aws:SourceArn": deployment.arn("logs", "*")},
        },
    }
