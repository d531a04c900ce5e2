"""The project: its APIs, and the rules for every resource in it."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...kind import CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ..common import group, known

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

PROJECT = "my-project"
NUMBER = "481516234201"
SERVICE = "gcp:projects/service:Service"


def words(text: str) -> list[str]:
    """Split a long list."""
    return text.split()


# APIs of a new project: https://cloud.google.com/service-usage/docs/enabled-service#default
DEFAULT_APIS = frozenset(
    f"{name}.googleapis.com"
    for name in words(
        """bigquery bigquerystorage cloudapis cloudtrace datastore logging monitoring servicemanagement serviceusage
        sql-component storage storage-api storage-component"""
    )
)
# https://cloud.google.com/about/locations
REGIONS = frozenset(
    words(
        """africa-south1 asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2
    asia-southeast1 asia-southeast2 australia-southeast1 australia-southeast2 europe-central2 europe-north1
    europe-north2 europe-southwest1 europe-west1 europe-west10 europe-west12 europe-west2 europe-west3 europe-west4
    europe-west6 europe-west8 europe-west9 me-central1 me-central2 me-west1 northamerica-northeast1
    northamerica-northeast2 northamerica-south1 southamerica-east1 southamerica-west1 us-central1 us-east1 us-east4
    us-east5 us-south1 us-west1 us-west2 us-west3 us-west4"""
    )
)
# Names of network resources and others: RFC 1035.
NAME = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
DURATION = r"\d+(?:\.\d{1,9})?s"


def api_disabled(api: str) -> str:
    """Return Google's error for a disabled API: reason SERVICE_DISABLED."""
    page = f"https://console.developers.google.com/apis/api/{api}/overview?project={NUMBER}"
    return (
        f"googleapi: Error 403: {api} API has not been used in project {NUMBER} before or it is disabled. "
        f"Enable it by visiting {page} then retry. Reason: SERVICE_DISABLED, service: {api}, accessNotConfigured"
    )


def self_link(api: str, path: str) -> str:
    """Return the selfLink of a resource."""
    hosts = {"compute": "www.googleapis.com/compute/v1", "sql": "sqladmin.googleapis.com/sql/v1beta4"}
    return f"https://{hosts.get(api, f'www.googleapis.com/{api}/v1')}/{path}"


def in_region(inputs: Values, field: str, *, others: frozenset[str] = frozenset()) -> Problems:
    """Require a region, or one of ``others``."""
    value = known(inputs, field)
    if value is not None and value not in REGIONS and value not in others:
        yield field, f"{value!r} is not a Google Cloud region"


def label_problems(inputs: Values, field: str) -> Problems:
    """https://cloud.google.com/resource-manager/docs/labels-overview#requirements."""
    labels = group(inputs, field)
    if len(labels) > 64:
        yield field, f"got {len(labels)} labels, expected at most 64"
    for name, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
            yield f"{field}.{name}", "a label key has at most 63 of a-z, digits, _ and -, and starts with a letter"
        if isinstance(value, str) and not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            yield f"{field}.{name}", f"got {value!r}; a label value has at most 63 of a-z, digits, _ and -"


Effect = Callable[["Resource", "Cloud"], None]


def _no_effect(_resource: "Resource", _cloud: "Cloud") -> None:
    return None


def of_google(
    token: str,
    api: str | tuple[str, ...],
    make: Callable[[CreateRequest], tuple[str, dict[str, Any]]],
    *,
    check: Callable[[Values], Problems] = lambda _inputs: iter(()),
    on_create: Effect = _no_effect,
    on_update: Effect = _no_effect,
    on_delete: Effect = _no_effect,
    leftover: Callable[["Resource"], str | None] = lambda _resource: None,
    survives_delete: Callable[["Resource"], bool] = lambda _resource: False,
    update_error: Callable[[Values, Values], str | None] = lambda _olds, _news: None,
    conflict: Callable[["Resource"], str] | None = None,
    labels: str = "labels",
    name: Name | None = None,
    references: tuple[Reference, ...] = (),
    overwrites: bool = False,
    lost_on_timeout: bool = False,
    delete_before_replace: bool = False,
    write_only: tuple[str, ...] = (),
    normal_form: Callable[[Values], Values] = lambda inputs: inputs,
) -> Kind:
    """A resource type of Google Cloud, with checks of its API, project and labels.

    Implements the provider's deletionPolicy: PREVENT rejects a deletion, ABANDON removes the resource from the state.
    """

    def problems(inputs: Values) -> Problems:
        if known(inputs, "project") not in (None, PROJECT, f"projects/{PROJECT}"):
            yield "project", f"got {inputs['project']!r}, expected {PROJECT}"
        yield from label_problems(inputs, labels)
        yield from check(inputs)

    def delete(resource: "Resource", cloud: "Cloud") -> None:
        if resource.inputs.get("deletionPolicy") == "PREVENT":
            raise CloudError(f'cannot destroy {resource} without setting deletion_policy="DELETE" and running `up`')
        on_delete(resource, cloud)

    return Kind(
        token=token,
        apis=tuple(f"{name}.googleapis.com" for name in ((api,) if isinstance(api, str) else api)),
        make=make,
        check=problems,
        on_delete=delete,
        survives_delete=lambda resource: (
            resource.inputs.get("deletionPolicy") == "ABANDON" or survives_delete(resource)
        ),
        name=name,
        references=references,
        on_create=on_create,
        on_update=on_update,
        leftover=leftover,
        update_error=update_error,
        conflict=conflict,
        overwrites=overwrites,
        lost_on_timeout=lost_on_timeout,
        delete_before_replace=delete_before_replace,
        write_only=write_only,
        normal_form=normal_form,
    )


def _enable(resource: "Resource", cloud: "Cloud") -> None:
    api = str(resource.inputs["service"])
    if api not in cloud.apis:
        cloud.apis.add(api)
        cloud.refusals[api] = cloud.refusals_of_new_apis


def _disable(resource: "Resource", cloud: "Cloud") -> None:
    if not resource.inputs.get("disableOnDestroy"):
        return
    api = str(resource.inputs["service"])
    user = next((other for other in cloud if other is not resource and api in other.kind.apis), None)
    if user is not None and not resource.inputs.get("disableDependentServices"):
        raise CloudError(f"googleapi: Error 400: {api} is used by {user}. Reason: SERVICE_IN_USE, failedPrecondition")
    cloud.apis.discard(api)


def _still_enabled(resource: "Resource") -> str | None:
    return None if resource.inputs.get("disableOnDestroy") else f"API {resource.inputs['service']}"


def _service_problems(inputs: Values) -> Problems:
    service = known(inputs, "service")
    if service is not None and not re.fullmatch(r"[a-z][a-z0-9.-]*\.googleapis\.com", service):
        yield "service", f"got {service!r}, expected a name that ends with .googleapis.com"


KINDS = (
    of_google(
        SERVICE,
        "serviceusage",
        lambda request: (f"{PROJECT}/{request.inputs['service']}", {}),
        check=_service_problems,
        # Enabling an enabled API succeeds.
        overwrites=True,
        on_create=_enable,
        on_delete=_disable,
        leftover=_still_enabled,
    ),
)
