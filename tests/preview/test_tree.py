import inspect
import re

import pulumi
import pulumi_aws as aws
import pulumi_docker_build as docker_build
import pulumi_gcp as gcp
import pulumi_random as random
import pytest

from preview.console import Style, plain, table
from preview.names import ResourceNames, class_name
from preview.recorder import record
from preview.tree import DISPLAYED_INPUTS, tree


class Component(pulumi.ComponentResource):
    def __init__(self, name: str) -> None:
        super().__init__("test:index:Component", name, {}, None)
        child = pulumi.ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(f"{name}-vpc", cidr_block="10.0.0.0/16", opts=child)
        role = aws.iam.Role(f"{name}-role", assume_role_policy="{}", opts=child)
        aws.iam.RolePolicy(f"{name}-role", role=role.name, policy="{}", opts=pulumi.ResourceOptions(parent=role))
        aws.ec2.InternetGateway(
            f"{name}-gateway", vpc_id=vpc.id, opts=pulumi.ResourceOptions(parent=self, protect=True)
        )
        aws.secretsmanager.SecretVersion(
            f"{name}-secret", secret_id="s", secret_string=pulumi.Output.secret("hidden"), opts=child
        )
        self.register_outputs({})


def test_tree_shows_children_with_displayed_inputs() -> None:
    def program() -> None:
        Component("top")
        aws.sns.Topic("topic", display_name="x" * 99)

    lines = tree(record(program), Style(colours=False))
    assert [re.sub(" +", " ", line.strip()) for line in lines] == [
        "top test.Component",
        "├─ top-vpc aws.ec2.Vpc cidrBlock=10.0.0.0/16",
        "├─ top-role aws.iam.Role",
        "│ └─ top-role aws.iam.RolePolicy",
        "├─ top-gateway aws.ec2.InternetGateway [protected] vpcId=top-vpc",
        "└─ top-secret aws.secretsmanager.SecretVersion secretString=[secret]",
        f"topic aws.sns.Topic displayName={'x' * 57}...",
    ]
    columns = {line.index("aws.") for line in lines if "aws." in line}
    assert len(columns) == 1, "types are not aligned"
    assert not any(line.endswith(" ") for line in lines)


def test_colours_only_add_escape_codes() -> None:
    graph = record(lambda: Component("top"))
    coloured = tree(graph, Style(colours=True))
    assert "\x1b[" in "".join(coloured)
    assert [plain(line) for line in coloured] == tree(graph, Style(colours=False))


def test_empty_table_columns_are_left_out() -> None:
    rows = [("a", "", "b"), ("longer", "", "c")]
    assert table(Style(colours=False), ["one", "two", "three"], rows) == [
        "  one     three",
        "  a       b",
        "  longer  c",
    ]


def _class(type_token: str) -> type[pulumi.Resource]:
    package, module, name = type_token.split(":")
    sdk = {"aws": aws, "gcp": gcp, "random": random, "docker-build": docker_build}[package]
    return getattr(getattr(sdk, module.split("/")[0]) if package in ("aws", "gcp") else sdk, name)


@pytest.mark.parametrize("type_token", DISPLAYED_INPUTS)
def test_displayed_inputs_exist_in_the_resource_class(type_token: str) -> None:
    resource_class = _class(type_token)
    property_names = {
        getattr(member.fget, "_pulumi_name", "")
        for _, member in inspect.getmembers(resource_class)
        if isinstance(member, property)
    }
    assert {path.split(".")[0] for path in DISPLAYED_INPUTS[type_token]} <= property_names


def test_references_are_shown_as_resource_names() -> None:
    def program() -> None:
        role = aws.iam.Role("role", assume_role_policy="{}")
        bucket = aws.s3.Bucket("bucket")
        aws.ec2.get_managed_prefix_list_output(name="com.amazonaws.eu-west-1.s3")
        pulumi.export("values", [role.arn, bucket.arn.apply(lambda arn: f"{arn}/prefix/*")])

    graph = record(program)
    names = ResourceNames(graph)
    role, objects = graph.outputs["values"]
    assert names.display(role) == "role"
    assert names.display(objects) == "bucket/prefix/*"
    assert names.display(graph.calls[0].result["id"]) == "com.amazonaws.eu-west-1.s3"
    assert names.display("arn:aws:s3:::bucket-of-another-account") == "arn:aws:s3:::bucket-of-another-account"
    assert names.resource(None) is None


def test_project_id_is_not_shown_as_the_application() -> None:
    def program() -> None:
        gcp.appengine.Application("app", project="my-project", location_id="europe-west")
        gcp.sql.User("user", project="my-project", instance="x", name="me")
        gcp.logging.ProjectExclusion("lines", filter="x", project="my-project")

    names = ResourceNames(record(program))
    assert names.display("my-project") == "my-project"
    assert names.display("my-project/x") == "my-project/x"


def test_ambiguous_input_names_show_their_parent() -> None:
    def program() -> None:
        gcp.storage.Bucket(
            "b", location="EU", versioning=gcp.storage.BucketVersioningArgs(enabled=True), force_destroy=True
        )

    (line,) = tree(record(program), Style(colours=False))
    assert line.split("  ")[3:] == ["location=EU", "versioning.enabled=true", "forceDestroy=true"]


def test_read_resource_is_marked() -> None:
    (line,) = tree(record(lambda: gcp.appengine.Application.get("app", "my-project")), Style(colours=False))
    assert line.strip() == "app  gcp.appengine.Application  [read]"


def test_class_names_are_written_as_in_programs() -> None:
    graph = record(lambda: (Component("top"), aws.lb.LoadBalancer("l"), random.RandomId("r", byte_length=4)))
    names = {class_name(resource) for resource in graph.resources}
    assert {"test.Component", "aws.lb.LoadBalancer", "aws.ec2.Vpc", "random.RandomId"} <= names
