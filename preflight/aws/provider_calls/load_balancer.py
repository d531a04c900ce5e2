"""Requests for the load balancer, certificate, DNS records and WAF, by resource type."""

from collections.abc import Mapping

from .rows import (
    ACCOUNT,
    ID,
    LISTENER,
    LOAD_BALANCER,
    PARTITION,
    REGION,
    SUFFIX,
    TAG_ACTIONS,
    Row,
    create_linked_role,
    on_resource,
    without_resource,
)

# Of resources that the program looks up.
ROWS_OF_LOOKUPS: Mapping[str, tuple[Row, ...]] = {
    "aws:acm/certificate:Certificate": (
        on_resource("acm", f"certificate/{ID}", "DescribeCertificate ListTagsForCertificate"),
    ),
}
ROWS: Mapping[str, tuple[Row, ...]] = {
    "aws:lb/loadBalancer:LoadBalancer": (
        on_resource(
            "elasticloadbalancing",
            f"loadbalancer/app/{{name}}/{ID}",
            "CreateLoadBalancer ModifyLoadBalancerAttributes SetSecurityGroups SetSubnets DeleteLoadBalancer "
            "AddTags RemoveTags",
        ),
        without_resource(
            "elasticloadbalancing",
            "DescribeLoadBalancers DescribeLoadBalancerAttributes DescribeCapacityReservation DescribeTags",
        ),
        without_resource("ec2", "DescribeNetworkInterfaces DescribeSubnets DescribeSecurityGroups DescribeVpcs"),
        create_linked_role("elasticloadbalancing.amazonaws.com"),
    ),
    "aws:lb/targetGroup:TargetGroup": (
        on_resource(
            "elasticloadbalancing",
            f"targetgroup/{{name}}/{ID}",
            "CreateTargetGroup ModifyTargetGroup ModifyTargetGroupAttributes DeleteTargetGroup AddTags RemoveTags",
        ),
        without_resource("elasticloadbalancing", "DescribeTargetGroups DescribeTargetGroupAttributes DescribeTags"),
    ),
    "aws:lb/listener:Listener": (
        on_resource("elasticloadbalancing", LOAD_BALANCER, "CreateListener"),
        on_resource(
            "elasticloadbalancing",
            LISTENER,
            "ModifyListener ModifyListenerAttributes DeleteListener AddTags RemoveTags",
        ),
        without_resource("elasticloadbalancing", "DescribeListeners DescribeListenerAttributes DescribeTags"),
    ),
    "aws:lb/listenerRule:ListenerRule": (
        on_resource("elasticloadbalancing", LISTENER, "CreateRule"),
        on_resource(
            "elasticloadbalancing",
            f"listener-rule/app/{{balancer}}/{ID}/{ID}/{ID}",
            "ModifyRule SetRulePriorities DeleteRule AddTags RemoveTags",
        ),
        without_resource("elasticloadbalancing", "DescribeRules DescribeTags"),
    ),
    "aws:acm/certificate:Certificate": (
        without_resource("acm", "RequestCertificate"),
        on_resource("acm", f"certificate/{ID}", "AddTagsToCertificate"),
        Row(
            actions=tuple(
                f"acm:{action}"
                for action in (
                    "DescribeCertificate",
                    "ListTagsForCertificate",
                    "RemoveTagsFromCertificate",
                    "DeleteCertificate",
                )
            ),
            resource=f"arn:{PARTITION}:acm:{REGION}:{ACCOUNT}:certificate/{ID}",
            tagged=True,
        ),
    ),
    "aws:acm/certificateValidation:CertificateValidation": (
        on_resource("acm", f"certificate/{ID}", "DescribeCertificate"),
    ),
    "aws:route53/record:Record": (
        on_resource(
            "route53",
            f"hostedzone/{ID}",
            "ChangeResourceRecordSets",
            route53__ChangeResourceRecordSetsRecordTypes=("{type}",),
        ),
        on_resource("route53", f"hostedzone/{ID}", "GetHostedZone ListResourceRecordSets"),
        on_resource("route53", f"change/{ID}", "GetChange"),
    ),
    "aws:wafv2/webAcl:WebAcl": (
        on_resource(
            "wafv2",
            f"regional/webacl/{{name}}/{ID}",
            f"CreateWebACL GetWebACL UpdateWebACL DeleteWebACL {TAG_ACTIONS}",
        ),
        on_resource("wafv2", f"regional/managedruleset/AWSManagedRulesCommonRuleSet/{ID}", "CreateWebACL UpdateWebACL"),
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": (
        on_resource(
            "wafv2", f"regional/webacl/mlflow-waf-{SUFFIX}/{ID}", "AssociateWebACL GetWebACLForResource GetWebACL"
        ),
        Row(
            actions=("wafv2:AssociateWebACL", "wafv2:DisassociateWebACL", "wafv2:GetWebACLForResource"),
            resource=f"arn:{PARTITION}:elasticloadbalancing:{REGION}:{ACCOUNT}:{LOAD_BALANCER}",
        ),
        on_resource(
            "elasticloadbalancing",
            LOAD_BALANCER,
            "CreateWebACLAssociation DeleteWebACLAssociation GetLoadBalancerWebACL",
        ),
        without_resource("elasticloadbalancing", "SetWebAcl"),
    ),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": (
        on_resource(
            "wafv2",
            f"regional/webacl/mlflow-waf-{SUFFIX}/{ID}",
            "PutLoggingConfiguration GetLoggingConfiguration DeleteLoggingConfiguration",
        ),
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-CWL.html
        without_resource(
            "logs",
            "CreateLogDelivery DeleteLogDelivery PutResourcePolicy DescribeResourcePolicies DescribeLogGroups",
        ),
        create_linked_role("wafv2.amazonaws.com"),
    ),
}
