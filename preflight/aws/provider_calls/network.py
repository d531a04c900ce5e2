"""Requests for the VPC, its security groups and endpoints, by resource type."""

from collections.abc import Mapping

from .rows import EC2_TAG_ACTIONS, ID, RULE_ACTIONS, Row, ec2, on_resource, pass_role

ROWS: Mapping[str, tuple[Row, ...]] = {
    "aws:ec2/vpc:Vpc": (
        *ec2(
            "vpc",
            create="CreateVpc DescribeVpcAttribute",
            change=f"ModifyVpcAttribute DeleteVpc {EC2_TAG_ACTIONS}",
            read="DescribeVpcs DescribeNetworkAcls DescribeRouteTables DescribeSecurityGroups DescribeVpcEndpoints",
        ),
        # What GuardDuty adds to the VPC (hashicorp/terraform-provider-aws#46953).
        *(
            on_resource("ec2", f"{kind}/{ID}", action, **{"aws__ResourceTag/GuardDutyManaged": "true"})
            for kind, action in (("vpc-endpoint", "DeleteVpcEndpoints"), ("security-group", "DeleteSecurityGroup"))
        ),
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": (
        # It exists with its VPC, without tags; the provider adds the tags before it revokes the rules.
        *ec2("security-group", create="RevokeSecurityGroupIngress RevokeSecurityGroupEgress", read=RULE_ACTIONS),
        on_resource("ec2", f"security-group/{ID}", "CreateTags"),
    ),
    "aws:ec2/subnet:Subnet": (
        *ec2(
            "subnet",
            create="CreateSubnet",
            change=f"ModifySubnetAttribute DeleteSubnet {EC2_TAG_ACTIONS}",
            read="DescribeSubnets DescribeNetworkInterfaces",
        ),
        on_resource("ec2", f"vpc/{ID}", "CreateSubnet"),
    ),
    "aws:ec2/internetGateway:InternetGateway": ec2(
        "internet-gateway",
        create="CreateInternetGateway",
        change=f"AttachInternetGateway DetachInternetGateway DeleteInternetGateway {EC2_TAG_ACTIONS}",
        read="DescribeInternetGateways",
    ),
    "aws:ec2/routeTable:RouteTable": ec2(
        "route-table",
        create="CreateRouteTable",
        change=f"DeleteRouteTable {EC2_TAG_ACTIONS}",
        read="DescribeRouteTables",
    ),
    "aws:ec2/route:Route": ec2(
        "route-table", change="CreateRoute ReplaceRoute DeleteRoute", read="DescribeRouteTables"
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ec2(
        "route-table",
        change="AssociateRouteTable DisassociateRouteTable ReplaceRouteTableAssociation",
        read="DescribeRouteTables",
    ),
    "aws:ec2/eip:Eip": (
        *ec2(
            "elastic-ip",
            create="AllocateAddress",
            # After a refresh, the state has the association with the NAT gateway, which is gone by then.
            change=f"DisassociateAddress ReleaseAddress {EC2_TAG_ACTIONS}",
            read="DescribeAddresses DescribeAddressesAttribute",
        ),
        on_resource("ec2", f"network-interface/{ID}", "DisassociateAddress"),
    ),
    "aws:ec2/natGateway:NatGateway": ec2(
        "natgateway",
        create="CreateNatGateway",
        change=f"DeleteNatGateway {EC2_TAG_ACTIONS}",
        read="DescribeNatGateways",
    ),
    "aws:ec2/securityGroup:SecurityGroup": ec2(
        "security-group",
        create="CreateSecurityGroup",
        # A new group allows all egress until the provider revokes that rule.
        change=f"RevokeSecurityGroupEgress RevokeSecurityGroupIngress DeleteSecurityGroup {EC2_TAG_ACTIONS}",
        read="DescribeSecurityGroups DescribeNetworkInterfaces",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": (
        *ec2("security-group-rule", create="AuthorizeSecurityGroupIngress", change=EC2_TAG_ACTIONS, read=RULE_ACTIONS),
        *ec2(
            "security-group",
            change="AuthorizeSecurityGroupIngress ModifySecurityGroupRules RevokeSecurityGroupIngress",
            read=RULE_ACTIONS,
        ),
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": (
        *ec2("security-group-rule", create="AuthorizeSecurityGroupEgress", change=EC2_TAG_ACTIONS, read=RULE_ACTIONS),
        *ec2(
            "security-group",
            change="AuthorizeSecurityGroupEgress ModifySecurityGroupRules RevokeSecurityGroupEgress",
            read=RULE_ACTIONS,
        ),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": (
        *ec2(
            "vpc-endpoint",
            create="CreateVpcEndpoint",
            change=f"ModifyVpcEndpoint DeleteVpcEndpoints {EC2_TAG_ACTIONS}",
            read="DescribeVpcEndpoints DescribePrefixLists DescribeSecurityGroups DescribeSubnets DescribeVpcs",
        ),
        # Resources of an existing VPC do not have the program's tags.
        *(
            on_resource("ec2", f"{kind}/{ID}", "CreateVpcEndpoint ModifyVpcEndpoint")
            for kind in ("subnet", "route-table", "security-group")
        ),
        # For its private DNS names.
        on_resource("route53", f"hostedzone/{ID}", "AssociateVPCWithHostedZone"),
    ),
    "aws:ec2/flowLog:FlowLog": (
        *ec2(
            "vpc-flow-log",
            create="CreateFlowLogs",
            change=f"DeleteFlowLogs {EC2_TAG_ACTIONS}",
            read="DescribeFlowLogs",
        ),
        pass_role("vpc-flow-logs.amazonaws.com"),
    ),
}
