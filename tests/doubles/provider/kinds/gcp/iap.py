"""Identity-Aware Proxy in front of App Engine: members with access, and settings."""

import re
from typing import TYPE_CHECKING, Any

from ...kind import CloudError, Name, Problems, Reference, Values
from ..common import among, group, known, matches
from .app_engine import APPLICATION, services_of
from .identity import iam_member, member_exists
from .project import DURATION, NUMBER, PROJECT, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource


def _service_is_there(resource: "Resource", cloud: "Cloud") -> None:
    service = str(resource.inputs["service"])
    if service not in services_of(cloud):
        raise CloudError(f"googleapi: Error 404: service {service} of {PROJECT} not found., notFound")
    member_exists(resource, cloud)


# https://cloud.google.com/iap/docs/reference/rest/v1/V1/updateIapSettings
_SETTINGS = re.compile(
    r"(?:organizations|folders)/\d+|projects/(?P<project>\d+)"
    r"(?:/iap_web(?:/compute(?:-[a-z0-9-]+)?(?:/services/[^/]+)?"
    r"|/appengine-(?P<app>[a-z0-9-]+)(?:/services/(?P<service>[^/]+)(?:/versions/[^/]+)?)?)?)?"
)


def _settings_problems(inputs: Values) -> Problems:
    name = known(inputs, "name")
    if name is not None:
        found = _SETTINGS.fullmatch(name)
        if found is None:
            yield (
                "name",
                f"got {name!r}, expected projects/NUMBER/iap_web/appengine-APP/services/SERVICE, and the like",
            )
        elif found["project"] not in (None, NUMBER):
            yield "name", f"{found['project']} is not the project's number"
    access = group(inputs, "accessSettings")
    reauth = group(access, "reauthSettings")
    for path, why in (
        *among(reauth, "method", ("LOGIN", "SECURE_KEY", "ENROLLED_SECOND_FACTORS")),
        *among(reauth, "policyType", ("MINIMUM", "DEFAULT")),
        *matches(reauth, "maxAge", DURATION),
    ):
        yield f"accessSettings.reauthSettings.{path}", why
    clients: list[Any] = known(group(access, "oauthSettings"), "programmaticClients") or []
    for client in clients:
        if isinstance(client, str) and not client.endswith(".apps.googleusercontent.com"):
            yield "accessSettings.oauthSettings.programmaticClients", f"got {client!r}, expected an OAuth client id"


def _settings_fit(resource: "Resource", cloud: "Cloud") -> None:
    found = _SETTINGS.fullmatch(str(resource.inputs["name"]))
    service = found["service"] if found else None
    if service and service not in services_of(cloud):
        raise CloudError(f"googleapi: Error 404: service {service} of {PROJECT} not found., notFound")


KINDS = (
    iam_member(
        "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember",
        "iap",
        lambda inputs: f"projects/{NUMBER}/iap_web/appengine-{inputs['appId']}/services/{inputs['service']}",
        Reference(path="appId", kinds=(APPLICATION,), by=("id",), blocks_delete=False),
        on_create=_service_is_there,
        check=lambda inputs: among(
            inputs, "role", ("roles/iap.httpsResourceAccessor", "roles/iap.admin", "roles/iap.settingsAdmin")
        ),
    ),
    of_google(
        "gcp:iap/settings:Settings",
        "iap",
        lambda request: (str(request.inputs["name"]), {}),
        name=Name(),
        check=_settings_problems,
        on_create=_settings_fit,
        on_update=_settings_fit,
        # Creation and deletion are a PATCH.
        overwrites=True,
    ),
)
