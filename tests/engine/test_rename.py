"""A component that is renamed or moved with an alias, and a renamed stack, keep every resource."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from leftovers.owner import Held
from preflight.machine import Machine
from preflight.state import State
from tests.engine import programs
from tests.engine.conftest import Start
from tests.engine.engine import STACK, Engine, Run

PLATFORM = "test:index:Platform"
# A program with the component of the stack's config, in a component of its own in the later steps. The transform adds a
# tag or label to each resource.
PROGRAM = """
import pulumi

import components
from components.config import read_config


class Platform(pulumi.ComponentResource):
    def __init__(self, name, **options):
        super().__init__("test:index:Platform", name, {{}}, pulumi.ResourceOptions(**options))


def add_owner(args):
    for name in ("tags", "labels", "userLabels"):
        if isinstance(args.props.get(name), dict):
            args.props[name]["owner"] = "platform-team"
    return pulumi.ResourceTransformResult(props=args.props, opts=args.opts)


def deploy(name, **options):
    config = read_config()
    options = pulumi.ResourceOptions(transforms=[add_owner], **options)
    if config.aws is not None:
        components.AwsMlflowProxy(name, config.aws.as_arguments(), options)
    if config.gcp is not None:
        components.GcpMlflow(name, config.gcp.as_arguments(), options)


{statement}
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the program's last statement, from that of the previous change."""

    name: str
    statement: str


CREATED = 'deploy("first")'
CHANGES = [
    Change("rename", 'deploy("second", aliases=[pulumi.Alias(name="first")])'),
    Change(
        "rename_and_move",
        """
platform = Platform("lab")
deploy("lab-mlflow", parent=platform, aliases=[pulumi.Alias(name="second", parent=pulumi.ROOT_STACK_RESOURCE)])
""",
    ),
    # The component inherits the alias.
    Change(
        "rename_of_the_parent",
        """
platform = Platform("team", aliases=[pulumi.Alias(name="lab")])
deploy("team-mlflow", parent=platform)
""",
    ),
]


@pytest.fixture(scope="module", params=["dev", "gcp-dev"])
def engine(request: pytest.FixtureRequest, start: Start) -> Engine:
    """Create the component as `first`."""
    engine = start(config=programs.config_of(request.param), secrets=programs.secrets_of(request.param))
    write(engine, CREATED)
    engine.up().ok()
    return engine


def write(engine: Engine, statement: str) -> None:
    (engine.folder / "__main__.py").write_text(PROGRAM.format(statement=statement), encoding="utf-8")


def rename_stack(engine: Engine) -> Run:
    engine.command("stack", "rename", "other").ok()
    try:
        return engine.preview("--stack", "other")
    finally:
        engine.command("stack", "rename", STACK, "--stack", "other").ok()


def change(statement: str) -> Callable[[Engine], Run]:
    def run(engine: Engine) -> Run:
        write(engine, statement)
        return engine.up()

    return run


@pytest.mark.parametrize(
    "run",
    [*[pytest.param(change(step.statement), id=step.name) for step in CHANGES], pytest.param(rename_stack, id="stack")],
)
def test_no_resource_changes(engine: Engine, run: Callable[[Engine], Run]) -> None:
    ids = sorted(resource["id"] for resource in engine.resources)
    steps = run(engine).ok().steps
    assert [step for step in steps if step.kind != PLATFORM] == []
    assert sorted(resource["id"] for resource in engine.resources) == ids


def test_make_leftovers_reads_the_names_at_creation_and_what_the_state_holds(engine: Engine) -> None:
    """From `pulumi stack export`, after the component was renamed."""

    def created(*_: str) -> list[Any]:
        return []

    subject: Any = SimpleNamespace(
        state=State(Machine(engine.folder, engine.environ), STACK),
        stack=SimpleNamespace(project="mlflow", name="renamed"),
        created=created,
    )
    held = Held(subject)
    assert held.unread == ""
    assert [(owner.component, owner.stack) for owner in held.owners(subject)] == [("first", STACK)]
    custom = [resource for resource in engine.resources if str(resource["type"]).startswith(("aws:", "gcp:"))]
    assert [one["urn"] for one in custom if not held.holds(one["type"], [one["id"]])] == []
