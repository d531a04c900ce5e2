"""Settings of the App Engine application with MLflow's service, and of the OAuth client with which users sign in."""

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..validation import Host, Text, ValidatedArgs
from . import regions

# The only version ID on App Engine: a second version would be a second deployment.
VERSION = "v1"
# https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services; a service is part of a host name.
_SERVICE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CLIENT_ID = re.compile(r"[0-9]+(?:-[a-z0-9]+)?\.apps\.googleusercontent\.com")
_CLIENT_ID_FORM = "NUMBER-....apps.googleusercontent.com"
_SECRET = re.compile(r"projects/[a-z0-9-]+/secrets/[A-Za-z0-9_-]{1,255}(?:/versions/(?:latest|[1-9]\d*))?")
# A dispatch rule has at most 100 characters of domain and path, which is /*.
# https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps#UrlDispatchRule
_DOMAIN_LENGTH = 98


class AppSettings(ValidatedArgs):
    """The project's App Engine application and MLflow's service in it."""

    production_defaults = {"min_instances": 2, "max_instances": 6, "start_timeout_seconds": 1800}

    mode: Literal["create", "import", "existing"] = "create"
    """create: create the project's application; import: take over the existing application and its Identity-Aware
    Proxy settings; existing: use the existing application without managing it or Identity-Aware Proxy. A project's
    application can never be deleted or moved to another region."""
    location: Text | None = None
    """App Engine's name of its region, such as europe-west; default: the name of `region`."""
    service: Text = "mlflow"
    """Name of MLflow's service. The service `default` can never be deleted."""
    domain: Host | None = None
    """Host name of your own for MLflow, with a certificate that App Engine manages; default: App Engine's host name.
    The deployer must be a verified owner of the domain, and you create the DNS records in the output `dns_records`."""
    placeholder: bool | None = None
    """Deploy a page that scales to zero to the service `default`, which must exist before any other service; default:
    only with mode create."""
    cpu: Literal[1, 2, 4, 6, 8, 10, 12, 14, 16] = 1
    """CPU cores of each instance."""
    memory_gb: float = Field(default=2.0, ge=1, le=104)
    """Memory of each instance in GB; MLflow needs 0.5 and each of its worker processes 0.3."""
    disk_gb: int = Field(default=10, ge=10, le=10240)
    """Disk size of each instance in GB; it holds no persistent data."""
    min_instances: int = Field(default=1, ge=1, le=100)
    """Minimum number of instances."""
    max_instances: int = Field(default=4, ge=1, le=100)
    """Maximum number of instances."""
    cpu_utilization: float = Field(default=0.75, ge=0.1, le=0.95)
    """Target CPU utilization of automatic scaling, as a fraction."""
    workers: int = Field(default=0, ge=0, le=64)
    """MLflow worker processes in each instance; 0: as many as the memory allows."""
    start_timeout_seconds: int = Field(default=600, ge=600, le=1800)
    """How long App Engine waits until a new instance serves before the deployment fails. It must be longer than an
    upgrade of the database schema, which App Engine would end halfway."""
    upstream_timeout_seconds: int = Field(default=110, ge=10, le=3600)
    """How long the proxy waits for MLflow's response in seconds. MLflow clients time out after 120 s by default
    (MLFLOW_HTTP_REQUEST_TIMEOUT)."""
    long_upstream_timeout_seconds: int = Field(default=310, ge=10, le=3600)
    """The same for artifacts and for model calls through MLflow's AI Gateway. App Engine's own limit is 3600 s."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for invalid names, and for scaling and memory that App Engine rejects."""
        if self.location is not None and self.location not in regions.APP_ENGINE:
            name = regions.app_engine_location(self.location)
            expected = name or f"one of {', '.join(sorted(regions.APP_ENGINE))}"
            yield "location", f"got {self.location!r}, expected {expected}."
        if not _SERVICE.fullmatch(self.service):
            yield (
                "service",
                f"got {self.service!r}, expected up to 63 lowercase letters, digits and hyphens, without a hyphen at "
                "either end.",
            )
        if self.domain is not None and len(self.domain) > _DOMAIN_LENGTH:
            yield "domain", f"got {self.domain!r}, expected at most {_DOMAIN_LENGTH} characters."
        if self.domain is not None and self.mode == "existing" and self.service != "default":
            yield (
                "domain",
                f"its requests reach the service {self.service!r} only by a dispatch rule, and with mode existing the "
                "application's rules are not managed here: set mode to import in the one stack that manages it, or "
                "service to default.",
            )
        if self.placeholder and self.service == "default":
            yield "placeholder", "got true, expected false with service default, which is MLflow itself."
        if self.max_instances < self.min_instances:
            yield (
                "max_instances",
                f"got {self.max_instances}, expected {self.min_instances} (minInstances) or more.",
            )
        if self.long_upstream_timeout_seconds < self.upstream_timeout_seconds:
            yield (
                "long_upstream_timeout_seconds",
                f"got {self.long_upstream_timeout_seconds}, expected at least upstreamTimeoutSeconds "
                f"({self.upstream_timeout_seconds}).",
            )
        # App Engine adds 0.4 GB of its own: https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#resource-settings
        low, high = max(1.0, self.cpu - 0.4), 6.5 * self.cpu - 0.4
        if not low <= self.memory_gb <= high:
            cores = "1 core" if self.cpu == 1 else f"{self.cpu} cores"
            yield "memory_gb", f"got {self.memory_gb:g}, expected {low:g} to {high:g} with {cores} (cpu)."


class OAuthClientSettings(ValidatedArgs):
    """The OAuth client with which Identity-Aware Proxy signs users in, created in the Google Cloud console."""

    client_id: Text | None = None
    """Client ID, NUMBER-....apps.googleusercontent.com; the client secret is a separate config secret."""
    client_id_secret: Text | None = None
    """Existing Secret Manager secret that holds the client ID, in place of clientId: projects/PROJECT/secrets/NAME."""
    client_secret_secret: Text | None = None
    """Existing Secret Manager secret that holds the client secret."""
    desktop_client_ids: list[Text] = []
    """Additional OAuth client IDs for programmatic access, such as the client of the users' gcloud login."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for invalid client IDs and secrets, and for settings that exclude each other."""
        for name in ("client_id_secret", "client_secret_secret"):
            value = getattr(self, name)
            if value is not None and not _SECRET.fullmatch(value):
                yield name, f"got {value!r}, expected projects/PROJECT/secrets/NAME (/versions/VERSION)."
        if self.client_id is not None and not _CLIENT_ID.fullmatch(self.client_id):
            yield "client_id", f"got {self.client_id!r}, expected {_CLIENT_ID_FORM}."
        for client_id in self.desktop_client_ids:
            if not _CLIENT_ID.fullmatch(client_id):
                yield "desktop_client_ids", f"got {client_id!r}, expected {_CLIENT_ID_FORM}."
        if self.client_id is not None and self.client_id_secret is not None:
            yield "client_id_secret", "set clientId or clientIdSecret, not both."
        if (self.client_id_secret is None) != (self.client_secret_secret is None):
            yield "client_secret_secret", "set both clientIdSecret and clientSecretSecret, or neither."
