import pulumi
import pulumi_aws as aws
import pytest

from preview.console import Style
from preview.destroy import kept
from preview.recorder import record
from preview.report import report
from preview.stack_files import Stack


class Box(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("test:index:Box", name, {}, opts)
        for number in range(3):
            aws.sns.Topic(f"{name}-{number}", opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (pulumi.ResourceOptions(protect=True), (True, "is protected")),
        (pulumi.ResourceOptions(retain_on_delete=True), (False, "stays in the account, and leaves the state")),
    ],
)
def test_what_an_option_keeps_is_named(options: pulumi.ResourceOptions, what: tuple[bool, str]) -> None:
    (found,) = kept(record(lambda: aws.sns.Topic("x", opts=options)))
    assert (found.stops, found.what) == what


def test_what_is_protected_with_all_its_parts_is_one_line(a_stack: Stack) -> None:
    text = report(
        a_stack, record(lambda: Box("box", pulumi.ResourceOptions(protect=True))), Style(colours=False)
    ).partition("pulumi destroy\n")[2]
    assert "box (test.Box)" in text
    assert "is protected, with all its parts" in text
    assert "deletionProtection: false" in text
    assert len(text.splitlines()) == 2


def test_a_stack_that_goes_whole_says_so(a_stack: Stack) -> None:
    assert "It takes everything away." in report(a_stack, record(lambda: aws.sns.Topic("x")), Style(colours=False))
