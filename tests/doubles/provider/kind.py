"""The behaviour of a resource type in the mock provider, beyond the schema of the SDK."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cloud import Cloud, Resource

# AWS's; Google's are in kinds/gcp/project.py.
ACCOUNT = "123456789012"
REGION = "eu-west-1"
Values = Mapping[str, Any]
Problems = Iterator[tuple[str, str]]


class CloudError(Exception):
    """The cloud rejects an operation. The message is the cloud's error message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """The field that the provider fills in where the program sets no name: ``<Pulumi name>-<7 hex digits>``."""

    field: str = "name"
    limit: int = 255
    lower: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A field that names another resource, which has to exist.

    ``kinds``: the types of the other resource. ``by``: its outputs that the field may hold. ``blocks_delete``: the
    other resource cannot be deleted while this one exists. ``deleted_with``: this one is deleted with the other one.
    """

    path: str
    kinds: tuple[str, ...]
    by: tuple[str, ...] = ("id",)
    blocks_delete: bool = True
    deleted_with: bool = False


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A request to create a resource. ``name`` is its Pulumi name."""

    name: str
    inputs: Values
    cloud: "Cloud"

    def hex_digits(self, length: int, salt: str = "") -> str:
        """Return digits that are unique in this cloud."""
        return hashlib.sha256(f"{self.cloud.next_number()}{salt}".encode()).hexdigest()[:length]

    def arn(self, service: str, resource: str, *, region: str = REGION, account: str = ACCOUNT) -> str:
        """Return an ARN in the double's account and region."""
        return f"arn:aws:{service}:{region}:{account}:{resource}"

    def find(self, value: Any, *kinds: str) -> "Resource":
        """Return the resource that a field names. Raises CloudError."""
        return self.cloud.find(value, kinds)


def _no_problems(_inputs: Values) -> Problems:
    return iter(())


def _no_effect(_resource: "Resource", _cloud: "Cloud") -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The behaviour of a type of resource. Hooks that take a cloud may raise CloudError."""

    token: str
    make: Callable[[CreateRequest], tuple[str, dict[str, Any]]]
    """Returns the id, and the outputs that the cloud adds to the inputs."""
    name: Name | None = None
    unique: tuple[tuple[str, ...], ...] = ()
    """Groups of fields whose values together may occur once in an account."""
    references: tuple[Reference, ...] = ()
    check: Callable[[Values], Problems] = _no_problems
    """The provider's own validation, before it calls the cloud: yields (path, reason)."""
    on_create: Callable[["Resource", "Cloud"], None] = _no_effect
    on_update: Callable[["Resource", "Cloud"], None] = _no_effect
    on_delete: Callable[["Resource", "Cloud"], None] = _no_effect
    leftover: Callable[["Resource"], str | None] = lambda _resource: None
    """The name of what remains in the account after the deletion, or None."""
    blocks_delete: Callable[["Resource", "Cloud"], Iterator["Resource"]] = lambda _resource, _cloud: iter(())
    """Resources that cannot be deleted while this one exists, beyond those in ``references``."""
    update_error: Callable[[Values, Values], str | None] = lambda _olds, _news: None
    """The provider's error for an update from old to new inputs, or None."""
    conflict: Callable[["Resource"], str] | None = None
    """The cloud's error if the resource exists already."""
    survives_delete: Callable[["Resource"], bool] = lambda _resource: False
    """Whether the provider removes the resource from the state only."""
    apis: tuple[str, ...] = ()
    """APIs of Google Cloud that have to be enabled."""
    delete_before_replace: bool = False
    lost_on_timeout: bool = False
    """If waiting for the creation times out, the provider returns no id, and the resource is not in the state."""
    write_only: tuple[str, ...] = ()
    """Fields that the cloud does not return."""
    updated_outputs: tuple[str, ...] = ()
    """Outputs that every update changes."""
    key: str = "id"
    """The output that identifies a resource where the provider's id does not."""
    overwrites: bool = False
    """Creating replaces an existing resource without an error; deleting the old one then deletes the new one."""
    normal_form: Callable[[Values], Values] = lambda inputs: inputs
    """The inputs as the service returns them; the provider compares with these."""


def with_id(
    prefix: str, **outputs: Callable[[CreateRequest, str], Any]
) -> Callable[[CreateRequest], tuple[str, dict[str, Any]]]:
    """Return a ``make`` for ids such as vpc-0a1b..., with outputs computed from the request and the id."""

    def make(request: CreateRequest) -> tuple[str, dict[str, Any]]:
        resource_id = f"{prefix}-0{request.hex_digits(16)}"
        return resource_id, {name: compute(request, resource_id) for name, compute in outputs.items()}

    return make
