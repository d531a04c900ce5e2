"""Domains of the App Engine application, and the rules that dispatch their requests to services."""

from typing import TYPE_CHECKING

from ...kind import CloudError, CreateRequest, Problems, Reference, Values
from ..common import among, group, groups, matches
from .app_engine import APPLICATION, VERSIONS
from .project import PROJECT, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

DOMAIN = "gcp:appengine/domainMapping:DomainMapping"
DISPATCH = "gcp:appengine/applicationUrlDispatchRules:ApplicationUrlDispatchRules"
VERIFIED_DOMAIN = "example.com"
"""The domain that the deployer owns, with those below it."""


def _domain(request: CreateRequest) -> tuple[str, dict[str, object]]:
    """https://cloud.google.com/appengine/docs/flexible/mapping-custom-domains."""
    name = str(request.inputs["domainName"])
    path = f"apps/{PROJECT}/domainMappings/{name}"
    relative = name.removesuffix(VERIFIED_DOMAIN).rstrip(".")
    alias = {"name": relative, "rrdata": "ghs.googlehosted.com", "type": "CNAME"}
    address = {"rrdata": "216.239.32.21", "type": "A"}
    return path, {"name": path, "resourceRecords": [alias if relative else address]}


def _domain_problems(inputs: Values) -> Problems:
    yield from among(inputs, "overrideStrategy", ("STRICT", "OVERRIDE"))
    settings = group(inputs, "sslSettings")
    yield from among(settings, "sslManagementType", ("AUTOMATIC", "MANUAL"))
    if settings and not settings.get("sslManagementType"):
        yield "sslSettings.sslManagementType", "required"


def _domain_is_verified(resource: "Resource", cloud: "Cloud") -> None:
    if not cloud.of(APPLICATION):
        raise CloudError(f'googleapi: Error 404: Could not find Application "{PROJECT}"., notFound')
    name = str(resource.inputs["domainName"])
    if not f".{name}".endswith(f".{VERIFIED_DOMAIN}"):
        # hashicorp/terraform-provider-google#19053
        raise CloudError(
            f"googleapi: Error 403: not authorized to administer the domain '{name}'. If you own '{name}', you can "
            "obtain authorization by verifying ownership of the domain, or any of its parent domains., forbidden"
        )


def _dispatch_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps#UrlDispatchRule."""
    for number, rule in enumerate(groups(inputs, "dispatchRules")):
        for field, why in (*matches(rule, "path", r"/[^*]*\*?"), *matches(rule, "domain", r"\*|(?:\*\.)?[a-z0-9.-]+")):
            yield f"dispatchRules[{number}].{field}", why
        if len(str(rule.get("domain", "*"))) + len(str(rule.get("path", ""))) > 100:
            yield f"dispatchRules[{number}].path", "domain and path have more than 100 characters"


KINDS = (
    of_google(
        DOMAIN,
        "appengine",
        _domain,
        check=_domain_problems,
        on_create=_domain_is_verified,
        lost_on_timeout=True,
        conflict=lambda there: (
            f"Error creating DomainMapping: googleapi: Error 409: The domain '{there.inputs['domainName']}' is already "
            "mapped., alreadyExists"
        ),
    ),
    of_google(
        DISPATCH,
        "appengine",
        lambda _request: (PROJECT, {}),
        # Google's reference of a rule: "The service must already exist."
        references=(Reference(path="dispatchRules[*].service", kinds=VERSIONS, by=("service",)),),
        check=_dispatch_problems,
        # It is a field of the application.
        overwrites=True,
        lost_on_timeout=True,
    ),
)
