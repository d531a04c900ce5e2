import pulumi
import pulumi_aws as aws
import pytest

from preview.console import Style
from preview.destroy import retentions
from preview.recorder import record
from preview.report import report
from preview.stack_files import Stack


class Component(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("test:index:Component", name, {}, opts)
        for number in range(3):
            aws.sns.Topic(f"{name}-{number}", opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (pulumi.ResourceOptions(protect=True), (True, "is protected")),
        (pulumi.ResourceOptions(retain_on_delete=True), (False, "is removed from the state only")),
    ],
)
def test_protect_and_retain_options_are_reported(options: pulumi.ResourceOptions, expected: tuple[bool, str]) -> None:
    (retention,) = retentions(record(lambda: aws.sns.Topic("x", opts=options)))
    assert (retention.blocks, retention.reason) == expected


def test_protected_component_is_one_line(empty_stack: Stack) -> None:
    text = report(
        empty_stack, record(lambda: Component("parent", pulumi.ResourceOptions(protect=True))), Style(colours=False)
    ).partition("pulumi destroy\n")[2]
    assert "parent (test.Component)" in text
    assert "is protected, with all its children" in text
    assert "deletionProtection: false" in text
    assert len(text.splitlines()) == 2


def test_report_without_retentions_is_one_line(empty_stack: Stack) -> None:
    assert "Deletes every resource." in report(empty_stack, record(lambda: aws.sns.Topic("x")), Style(colours=False))
