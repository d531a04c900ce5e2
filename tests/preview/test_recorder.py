import asyncio
import gc
import sys
from collections.abc import Callable

import pulumi
import pulumi_aws as aws
import pulumi_gcp as gcp
import pulumi_random as random
import pytest

from preview import mock_outputs
from preview.recorder import SECRET, Graph, MissingMockOutputError, record

BUCKET = "aws:s3/bucket:Bucket"


def bucket(name: str, bucket_name: pulumi.Input[str] | None = None, **options: object) -> aws.s3.Bucket:
    return aws.s3.Bucket(name, bucket=bucket_name, opts=pulumi.ResourceOptions(**options))  # pyright: ignore[reportArgumentType]


class Component(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("test:index:Component", name, {}, opts)
        inner = bucket(f"{name}-inner", "x", parent=self)
        aws.get_region_output(opts=pulumi.InvokeOptions(parent=self))
        self.register_outputs({"bucket": inner.bucket, "hidden": pulumi.Output.secret("planted")})


def test_parents_dependencies_and_options_are_recorded() -> None:
    def program() -> None:
        first = bucket("first", "one")
        bucket(
            "second",
            first.bucket,
            depends_on=[first],
            protect=True,
            retain_on_delete=True,
            delete_before_replace=True,
            ignore_changes=["tags"],
            replace_on_changes=["bucket"],
            deleted_with=first,
            aliases=[pulumi.Alias(name="old")],
            custom_timeouts=pulumi.CustomTimeouts(create="5m"),
        )

    first, second = record(program).resources
    assert second.dependencies == (first.urn,)
    assert second.property_dependencies == {"bucket": (first.urn,)}
    assert (second.protect, second.retain_on_delete, second.delete_before_replace) == (True, True, True)
    assert (second.ignore_changes, second.replace_on_changes) == (("tags",), ("bucket",))
    assert (second.deleted_with, second.aliases, second.timeouts) == (first.urn, ("old",), {"create": "5m"})
    assert not first.protect
    assert first.aliases == ()


def test_resources_are_in_program_order() -> None:
    def program() -> None:
        last = bucket("z", "z")
        bucket("y", last.bucket)
        for number in range(20):
            bucket(f"b{number}")

    names = [resource.name for resource in record(program).resources]
    assert names == ["z", "y", *(f"b{number}" for number in range(20))]


def test_component_has_children_outputs_and_providers() -> None:
    def program() -> None:
        Component(
            "component", pulumi.ResourceOptions(providers=[aws.Provider("explicit", region="eu-north-1")], protect=True)
        )

    graph = record(program)
    provider, component, inner = graph.resources
    assert [child.name for child in graph.children(component.urn)] == ["component-inner"]
    assert list(graph.ancestors(inner)) == [component]
    assert inner.provider.startswith(provider.urn)
    assert [call.provider for call in graph.calls] == [inner.provider]
    assert component.outputs == {"bucket": "x", "hidden": SECRET}
    assert inner.protect


def test_secret_value_is_not_in_the_graph() -> None:
    def program() -> None:
        planted = pulumi.Config().require_secret("key")
        bucket_with_secret_name = bucket("b", planted.apply(lambda text: f"x-{text}"))
        aws.s3.BucketPolicy(
            "p",
            bucket=bucket_with_secret_name.bucket,
            policy=pulumi.Output.json_dumps({"a": bucket_with_secret_name.bucket}),
        )
        pulumi.export("bucket", bucket_with_secret_name.bucket)
        pulumi.export("group", {"list": [planted]})

    graph = record(program, config={"mlflow:key": "planted-plain"}, secret_keys=["mlflow:key"])
    assert "planted-plain" not in repr(graph)
    assert graph.outputs == {"bucket": SECRET, "group": {"list": [SECRET]}}
    assert graph.of(BUCKET)[0].secret_inputs == ("bucket",)


def test_additional_secret_outputs_are_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "random:index/randomPassword:RandomPassword"
    monkeypatch.setitem(mock_outputs.RESOURCES, kind, lambda _name, _inputs: {"result": "planted-plain"})

    def program() -> None:
        pulumi.export("password", random.RandomPassword("p", length=8).result)

    graph = record(program)
    assert graph.outputs == {"password": SECRET}
    assert "planted-plain" not in repr(graph)


def string_output() -> None:
    bucket("b", bucket("a").hosted_zone_id)


def string_output_in_a_string() -> None:
    bucket("b", pulumi.Output.concat("x-", bucket("a").hosted_zone_id))


def string_output_in_a_secret() -> None:
    bucket("b", pulumi.Output.secret(bucket("a").hosted_zone_id))


def number_output() -> None:
    first = aws.lb.LoadBalancer("a")
    aws.lb.TargetGroup("b", port=first.idle_timeout)


def null_in_a_string() -> None:
    bucket("b", bucket("a", "x").bucket.apply(lambda name: f"{name}:{None}"))


def null_in_a_json_document() -> None:
    name = bucket("a", "x").bucket
    aws.s3.BucketPolicy("b", bucket=name, policy=name.apply(lambda name: f'{{"Resource": [null, "{name}"]}}'))


def stack_output() -> None:
    pulumi.export("b", bucket("a").hosted_zone_id)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (string_output, rf"{BUCKET}\.hostedZoneId, used by input bucket of {BUCKET} 'b'"),
        (string_output_in_a_string, rf"{BUCKET}\.hostedZoneId, used by input bucket of {BUCKET} 'b'"),
        (string_output_in_a_secret, rf"{BUCKET}\.hostedZoneId, used by input bucket of {BUCKET} 'b'"),
        (number_output, "LoadBalancer that is not a string, used by input port of aws:lb/targetGroup:TargetGroup 'b'"),
        (
            null_in_a_string,
            f"{BUCKET}, or the result of a call, used by input bucket of {BUCKET} 'b': it is null",
        ),
        (null_in_a_json_document, "input policy of aws:s3/bucketPolicy:BucketPolicy 'b': it is null"),
        (stack_output, rf"{BUCKET}\.hostedZoneId, used by stack output b"),
    ],
)
def test_missing_mock_output_is_named(
    program: Callable[[], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mock_outputs, "RESOURCES", {})
    with pytest.raises(MissingMockOutputError, match=message) as caught:
        record(program)
    assert "preview/mock_outputs.py" in str(caught.value)


def test_call_without_mock_is_named() -> None:
    with pytest.raises(MissingMockOutputError, match="getCanonicalUserId"):
        record(lambda: aws.s3.get_canonical_user_id_output().id)


def raises_immediately() -> None:
    bucket("b")
    raise pulumi.RunError("two\n  lines")


def raises_in_an_apply() -> None:
    bucket("b", "x").bucket.apply(lambda _: fail())


def raises_in_an_input() -> None:
    bucket("c", bucket("b", "x").bucket.apply(lambda _: fail()))


async def raises_after_an_await() -> None:
    await asyncio.sleep(0)
    fail()


def fail() -> str:
    raise pulumi.RunError("two\n  lines")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("program", [raises_immediately, raises_in_an_apply, raises_in_an_input, raises_after_an_await])
def test_program_error_propagates_unchanged(program: Callable[[], object], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        record(program)
    assert str(caught.value) == "two\n  lines"
    del caught
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_failed_run_leaves_no_state() -> None:
    for _ in range(2):
        with pytest.raises(pulumi.RunError):
            record(raises_in_an_input)
        assert [resource.name for resource in record(lambda: bucket("b")).resources] == ["b"]


def test_system_exit_propagates() -> None:
    with pytest.raises(SystemExit):
        record(lambda: sys.exit(3))


def test_duplicate_urn_is_an_error() -> None:
    def program() -> None:
        bucket("b")
        bucket("b")

    with pytest.raises(ValueError, match=r"Two resources have the URN .*Bucket::b"):
        record(program)


def test_async_program_is_awaited() -> None:
    async def program() -> None:
        await asyncio.sleep(0)
        pulumi.export("b", bucket("b", "x").bucket)

    assert record(program).outputs == {"b": "x"}


def test_log_messages_are_recorded() -> None:
    assert record(lambda: pulumi.log.warn("a warning")).messages == [("WARNING", "a warning")]


def test_program_reads_the_project_stack_and_config_of_the_run() -> None:
    def program() -> None:
        pulumi.export("names", [pulumi.get_project(), pulumi.get_stack(), pulumi.Config("a").get("b") or ""])

    def names(graph: Graph) -> list[str]:
        return graph.outputs["names"]

    assert names(record(program, project="p", stack_name="s", config={"a:b": "c"})) == ["p", "s", "c"]
    assert names(record(program)) == ["mlflow", "dev", ""]


def test_read_resource_is_recorded_with_mock_outputs() -> None:
    def program() -> None:
        top = Component("component")
        app = gcp.appengine.Application.get("app", "my-project", opts=pulumi.ResourceOptions(parent=top))
        gcp.storage.Bucket("b", name=app.default_hostname, location="EU")
        pulumi.export("id", app.id)

    graph = record(program)
    (app,), (new,) = graph.of("gcp:appengine/application:Application"), graph.of("gcp:storage/bucket:Bucket")
    assert (app.read, app.id, app.inputs, app.protect) == (True, "my-project", {}, False)
    assert [ancestor.name for ancestor in graph.ancestors(app)] == ["component"]
    assert not new.read
    assert new.inputs["name"] == "my-project.ew.r.appspot.com"
    assert new.property_dependencies["name"] == (app.urn,)
    assert graph.outputs == {"id": "my-project"}


def test_read_resource_has_the_id_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mock_outputs.RESOURCES, BUCKET, lambda name, _inputs: {"id": f"mock-{name}"})
    (bucket,) = record(lambda: aws.s3.Bucket.get("b", "existing-bucket")).resources
    assert bucket.id == "existing-bucket"


def test_mock_outputs_use_the_region_of_the_provider() -> None:
    def program() -> None:
        default = aws.get_region_output()
        explicit = aws.Provider("explicit", region="eu-north-1")
        role = aws.iam.Role("role", assume_role_policy="{}")
        pulumi.export("default", default.region)
        pulumi.export("explicit", aws.get_region_output(opts=pulumi.InvokeOptions(provider=explicit)).region)
        pulumi.export("role", role.arn)
        pulumi.export("zones", aws.get_availability_zones_output().names)

    outputs = record(program, config={"aws:region": "us-east-2"}).outputs
    assert (outputs["default"], outputs["explicit"]) == ("us-east-2", "eu-north-1")
    assert outputs["zones"][0] == "us-east-2a"
    assert outputs["role"].startswith("arn:aws:iam::")
