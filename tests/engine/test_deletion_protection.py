"""Deletion protection in production: until it is disabled, no command deletes a resource of the component."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pulumi import automation

from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import STACK, Engine, Run

PROTECTION = "mlflow:index:DeletionProtection"
NOTHING = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """``unprotected`` is the type of a resource without protection of its own, which others depend on."""

    name: str
    unprotected: str


STACKS = [
    Stack("prod", "aws:ecs/cluster:Cluster"),
    Stack("gcp-prod", "gcp:artifactregistry/repository:Repository"),
]


def destroy_with_preview(engine: Engine, _: Stack) -> Run:
    """As in a terminal."""
    return engine.command("destroy", "--yes")


def destroy_without_preview(engine: Engine, _: Stack) -> Run:
    return engine.destroy()


def destroy_in_spite_of_errors(engine: Engine, _: Stack) -> Run:
    return engine.destroy("--continue-on-error")


def destroy_with_the_program(engine: Engine, _: Stack) -> Run:
    return engine.destroy("--run-program", "--continue-on-error")


def destroy_all_but_protected(engine: Engine, _: Stack) -> Run:
    return engine.destroy("--exclude-protected")


def destroy_one_resource(engine: Engine, stack: Stack) -> Run:
    (urn,) = [resource["urn"] for resource in engine.resources if resource["type"] == stack.unprotected]
    return engine.destroy("--target", urn, "--target-dependents", "--continue-on-error")


def destroy_by_the_automation_api(engine: Engine, _: Stack) -> Run:
    workspace = automation.LocalWorkspace(work_dir=str(engine.folder), env_vars=engine.environ)
    try:
        automation.Stack.select(STACK, workspace).destroy()
    except automation.CommandError as error:
        return Run(1, str(error), [])
    return Run(0, "", [])


def up_without_the_component(engine: Engine, _: Stack) -> Run:
    program = engine.folder / "__main__.py"
    text = program.read_text(encoding="utf-8")
    program.write_text(NOTHING, encoding="utf-8")
    try:
        return engine.up("--continue-on-error")
    finally:
        program.write_text(text, encoding="utf-8")


Delete = Callable[[Engine, Stack], Run]
DELETES: list[Delete] = [
    destroy_with_preview,
    destroy_without_preview,
    destroy_in_spite_of_errors,
    destroy_with_the_program,
    destroy_all_but_protected,
    destroy_one_resource,
    destroy_by_the_automation_api,
    up_without_the_component,
]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack with deletion protection, and what it has."""

    stack: Stack
    engine: Engine
    account: list[str] = field(default_factory=list[str])
    state: list[str] = field(default_factory=list[str])

    def now(self) -> "Deployed":
        """The same with what it has now."""
        urns = [resource["urn"] for resource in self.engine.state["resources"]]
        return dataclasses.replace(self, account=self.engine.double.cloud.left, state=sorted(urns))


@pytest.fixture(scope="module", params=STACKS, ids=lambda stack: stack.name)
def deployed(request: pytest.FixtureRequest, start: Start) -> Deployed:
    """Create a stack once for all tests; the last one deletes it."""
    stack: Stack = request.param
    engine = start(config=programs.config_of(stack.name), secrets=programs.secrets_of(stack.name))
    engine.up().ok()
    return Deployed(stack, engine).now()


@pytest.mark.parametrize("delete", DELETES, ids=lambda delete: delete.__name__)
def test_nothing_is_deleted_and_the_error_names_the_protection(deployed: Deployed, delete: Delete) -> None:
    run = delete(deployed.engine, deployed.stack)
    now = deployed.now()
    assert [urn for urn in deployed.state if urn not in now.state] == []
    assert now.account == deployed.account
    # Nothing is left to do when all protected resources and their dependencies are excluded.
    if delete is not destroy_all_but_protected:
        assert run.code != 0
        assert PROTECTION in run.output
        assert "protected" in run.output


def test_every_resource_is_a_dependency_of_the_protection(deployed: Deployed) -> None:
    resources = deployed.engine.state["resources"]
    (protection,) = [resource for resource in resources if resource["type"] == PROTECTION]
    dependencies = transitive_dependencies(resources, protection)
    # Providers and the stack are no resources of the account.
    missing = [
        resource["urn"]
        for resource in resources
        if resource.get("custom") and not resource["type"].startswith("pulumi:") and resource["urn"] not in dependencies
    ]
    assert missing == []


def transitive_dependencies(resources: list[dict[str, Any]], of: dict[str, Any]) -> set[str]:
    by_urn = {resource["urn"]: resource for resource in resources}
    urns: set[str] = set()
    queue = [of]
    while queue:
        current = queue.pop()
        new = {*current.get("dependencies", ()), current.get("parent", "")} - {"", *urns}
        urns |= new
        queue += [by_urn[urn] for urn in new]
    return urns


def test_stack_can_be_destroyed_after_disabling_protection(deployed: Deployed) -> None:
    engine = deployed.engine
    engine.configure(programs.config_of(deployed.stack.name, {"deletionProtection": False}))
    engine.up().ok()
    retained = engine.retained_on_destroy()
    engine.destroy().ok()
    assert engine.resources == []
    assert account.unexplained_leftovers(engine.double.cloud, retained) == []
