"""The project's App Engine application with Identity-Aware Proxy.

A project has one application, which can never be deleted: it is created, imported, or used without being managed.
"""

import functools

import pulumi
from pulumi_gcp import appengine

from . import regions
from .app_settings import AppSettings, OAuthClientSettings
from .deployment import Deployment
from .oauth_client import OAuthClient
from .placeholder import Placeholder

_ALREADY_EXISTS = (
    "This project has an App Engine application already (from before, or from a stack that was destroyed: no "
    "application can be deleted). Set app.mode: import to take it over, with its Identity-Aware Proxy, or "
    "app.mode: existing to use it as it is; and app.placeholder: true if it has no service default yet."
)


class AppEngine(pulumi.ComponentResource):
    """The application and, if needed, the placeholder page; services depend on this component."""

    app_id: pulumi.Output[str]
    """ID of the application, which is the project ID."""
    host: pulumi.Output[str]
    """Host name of the service `default`; SERVICE-dot- is prepended for other services."""
    iap_audience: pulumi.Output[str]
    """Audience of Identity-Aware Proxy's assertions: /projects/NUMBER/apps/ID."""
    client_id: pulumi.Output[str | None]
    """OAuth client ID; None for an application that is not managed here and has Google's own client."""
    oauth_client_secret: pulumi.Output[str | None]
    """Secret Manager secret with the client secret; None with mode existing."""
    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self,
        deployment: Deployment,
        args: AppSettings,
        *,
        location: str,
        oauth_client: OAuthClientSettings,
        oauth_client_secret: pulumi.Input[str] | None,
        number: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``location`` is the required location, ``number`` the project number."""
        super().__init__("mlflow:gcp:AppEngine", deployment.component, {}, opts)
        self.retained_on_destroy = []
        if args.mode == "existing":
            app = self._existing(deployment, oauth_client)
        else:
            app = self._managed(deployment, args, location, oauth_client, oauth_client_secret)
        check = functools.partial(_check_location, expected=location, project=deployment.project)
        self.app_id = pulumi.Output.all(app.app_id, app.location_id).apply(check)
        self.host = pulumi.Output.all(app.default_hostname, app.location_id).apply(check)
        self.iap_audience = pulumi.Output.format("/projects/{0}/apps/{1}", number, self.app_id)
        if args.placeholder or (args.placeholder is None and args.mode == "create" and args.service != "default"):
            page = Placeholder(deployment, code_bucket=app.code_bucket, opts=pulumi.ResourceOptions(parent=self))
            self.retained_on_destroy += page.retained_on_destroy
        self.register_outputs(
            {
                "app_id": self.app_id,
                "host": self.host,
                "iap_audience": self.iap_audience,
                "client_id": self.client_id,
                "oauth_client_secret": self.oauth_client_secret,
            }
        )

    def _existing(self, deployment: Deployment, oauth_client: OAuthClientSettings) -> appengine.Application:
        found = appengine.Application.get(
            deployment.logical_name("app"), deployment.project, opts=pulumi.ResourceOptions(parent=self)
        )
        # The IAP settings contain the client secret, which makes the whole object secret.
        client_id = pulumi.Output.unsecret(found.iap.apply(_client_id))
        self.client_id = (
            client_id if oauth_client.client_id is None else pulumi.Output.from_input(oauth_client.client_id)
        )
        self.oauth_client_secret = pulumi.Output.from_input(None)
        return found

    def _managed(
        self,
        deployment: Deployment,
        args: AppSettings,
        location: str,
        oauth_client: OAuthClientSettings,
        client_secret: pulumi.Input[str] | None,
    ) -> appengine.Application:
        client = OAuthClient(
            deployment, oauth_client, client_secret=client_secret, opts=pulumi.ResourceOptions(parent=self)
        )
        self.client_id, self.oauth_client_secret = client.client_id.apply(_maybe), client.secret.apply(_maybe)
        self.retained_on_destroy.append(
            f"the App Engine application of {deployment.project} with its buckets, and Identity-Aware Proxy enabled: "
            "an application can only be deleted with its project"
        )
        imported = args.mode == "import"
        return appengine.Application(
            deployment.logical_name("app"),
            project=deployment.project,
            location_id=location,
            iap=appengine.ApplicationIapArgs(
                enabled=True, oauth2_client_id=client.client_id, oauth2_client_secret=client.client_secret
            ),
            # Separate liveness and readiness checks, which old applications do not have by default.
            feature_settings=appengine.ApplicationFeatureSettingsArgs(split_health_checks=True),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=deployment.deletion_protection,
                retain_on_delete=True,
                import_=deployment.project if imported else None,
                # The location cannot change; _check_location reports that with the name of the setting.
                ignore_changes=["location_id"],
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m"),
                hooks=None if imported else _creation_error_hook(deployment),
            ),
        )


def _creation_error_hook(deployment: Deployment) -> pulumi.ResourceHookBinding:
    """Reports which mode to set if the application exists; the provider has no function that looks it up."""
    hook = pulumi.ErrorHook(deployment.logical_name("app-exists"), _explain_creation_error)
    return pulumi.ResourceHookBinding(on_error=[hook])


def _explain_creation_error(args: pulumi.ErrorHookArgs) -> bool:
    """Raises pulumi.RunError if the application exists; returns False, which means no retry, for other errors."""
    error = args.errors[0]
    if any(word in error.lower() for word in ("error 409", "already exist")):
        raise pulumi.RunError(f"{_ALREADY_EXISTS} (Google's error: {error})")
    return False


def _check_location(values: list[str], *, expected: str, project: str) -> str:
    """The first of (value, location). Raises pulumi.RunError if the application is in another region."""
    value, location = values
    if regions.region_of(location) != regions.region_of(expected):
        raise pulumi.RunError(
            f"The App Engine application of {project} is in {location}, not in {expected}, and cannot move: "
            f"set app.location: {location}, or region: {regions.region_of(location)} for all resources."
        )
    return value


def _client_id(iap: "appengine.outputs.ApplicationIap | None") -> str | None:
    if iap is None or not iap.enabled:
        pulumi.log.warn(
            "Identity-Aware Proxy is off in this App Engine application: MLflow rejects all requests until it is "
            "enabled."
        )
    return (iap.oauth2_client_id or None) if iap else None


def _maybe(text: str) -> str | None:
    return text
