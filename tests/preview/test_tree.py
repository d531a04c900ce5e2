import inspect
import re

import pulumi
import pulumi_aws as aws
import pulumi_docker_build as docker_build
import pulumi_gcp as gcp
import pulumi_random as random
import pytest

from preview.console import Style, plain, table
from preview.matters import MATTERS
from preview.names import Names, kind
from preview.recorder import record
from preview.tree import tree


class Box(pulumi.ComponentResource):
    def __init__(self, name: str) -> None:
        super().__init__("test:index:Box", name, {}, None)
        inside = pulumi.ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(f"{name}-vpc", cidr_block="10.0.0.0/16", opts=inside)
        role = aws.iam.Role(f"{name}-role", assume_role_policy="{}", opts=inside)
        aws.iam.RolePolicy(f"{name}-role", role=role.name, policy="{}", opts=pulumi.ResourceOptions(parent=role))
        aws.ec2.InternetGateway(
            f"{name}-gateway", vpc_id=vpc.id, opts=pulumi.ResourceOptions(parent=self, protect=True)
        )
        aws.secretsmanager.SecretVersion(
            f"{name}-secret", secret_id="s", secret_string=pulumi.Output.secret("hidden"), opts=inside
        )
        self.register_outputs({})


def test_parents_and_children_are_a_tree_with_the_inputs_that_matter() -> None:
    def program() -> None:
        Box("box")
        aws.sns.Topic("topic", display_name="x" * 99)

    found = tree(record(program), Style(colours=False))
    assert [re.sub(" +", " ", line.strip()) for line in found] == [
        "box test.Box",
        "├─ box-vpc aws.ec2.Vpc cidrBlock=10.0.0.0/16",
        "├─ box-role aws.iam.Role",
        "│ └─ box-role aws.iam.RolePolicy",
        "├─ box-gateway aws.ec2.InternetGateway [protected] vpcId=box-vpc",
        "└─ box-secret aws.secretsmanager.SecretVersion secretString=[secret]",
        f"topic aws.sns.Topic displayName={'x' * 57}...",
    ]
    starts = {line.index("aws.") for line in found if "aws." in line}
    assert len(starts) == 1, "types are aligned"
    assert not any(line.endswith(" ") for line in found)


def test_colours_are_asked_for_and_change_nothing_else() -> None:
    graph = record(lambda: Box("box"))
    coloured = tree(graph, Style(colours=True))
    assert "\x1b[" in "".join(coloured)
    assert [plain(line) for line in coloured] == tree(graph, Style(colours=False))


def test_a_tables_empty_columns_are_left_out() -> None:
    rows = [("a", "", "b"), ("longer", "", "c")]
    assert table(Style(colours=False), ["one", "two", "three"], rows) == [
        "  one     three",
        "  a       b",
        "  longer  c",
    ]


def _class(kind_: str) -> type[pulumi.Resource]:
    package, module, name = kind_.split(":")
    here = {"aws": aws, "gcp": gcp, "random": random, "docker-build": docker_build}[package]
    return getattr(getattr(here, module.split("/")[0]) if package in ("aws", "gcp") else here, name)


@pytest.mark.parametrize("kind_", MATTERS)
def test_what_matters_is_an_input_of_its_type(kind_: str) -> None:
    made = _class(kind_)
    wire = {
        getattr(member.fget, "_pulumi_name", "")
        for _, member in inspect.getmembers(made)
        if isinstance(member, property)
    }
    assert {path.split(".")[0] for path in MATTERS[kind_]} <= wire


def test_ids_are_the_names_of_whose_they_are() -> None:
    def program() -> None:
        role = aws.iam.Role("role", assume_role_policy="{}")
        bucket = aws.s3.Bucket("bucket")
        aws.ec2.get_managed_prefix_list_output(name="com.amazonaws.eu-west-1.s3")
        pulumi.export("values", [role.arn, bucket.arn.apply(lambda arn: f"{arn}/prefix/*")])

    graph = record(program)
    names = Names(graph)
    role, objects = graph.outputs["values"]
    assert names.called(role) == "role"
    assert names.called(objects) == "bucket/prefix/*"
    assert names.called(graph.calls[0].answer["id"]) == "com.amazonaws.eu-west-1.s3"
    assert names.called("arn:aws:s3:::bucket-of-somebody") == "arn:aws:s3:::bucket-of-somebody"
    assert names.resource(None) is None


def test_a_project_is_not_its_application() -> None:
    def program() -> None:
        gcp.appengine.Application("app", project="my-project", location_id="europe-west")
        gcp.sql.User("user", project="my-project", instance="x", name="me")
        gcp.logging.ProjectExclusion("lines", filter="x", project="my-project")

    names = Names(record(program))
    assert names.called("my-project") == "my-project"
    assert names.called("my-project/x") == "my-project/x"


def test_an_inputs_last_name_is_not_shown_alone_where_it_says_nothing() -> None:
    def program() -> None:
        gcp.storage.Bucket(
            "b", location="EU", versioning=gcp.storage.BucketVersioningArgs(enabled=True), force_destroy=True
        )

    (line,) = tree(record(program), Style(colours=False))
    assert line.split("  ")[3:] == ["location=EU", "versioning.enabled=true", "forceDestroy=true"]


def test_what_is_only_looked_at_says_so() -> None:
    (line,) = tree(record(lambda: gcp.appengine.Application.get("app", "my-project")), Style(colours=False))
    assert line.strip() == "app  gcp.appengine.Application  [read]"


def test_types_are_written_as_in_programs() -> None:
    graph = record(lambda: (Box("box"), aws.lb.LoadBalancer("l"), random.RandomId("r", byte_length=4)))
    kinds = {kind(one) for one in graph.resources}
    assert {"test.Box", "aws.lb.LoadBalancer", "aws.ec2.Vpc", "random.RandomId"} <= kinds
