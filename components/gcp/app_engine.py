"""The project's App Engine application, with Identity-Aware Proxy in front of it.

A project has one application, for good: it is made here, taken over, or used as it is.
"""

import functools

import pulumi
from pulumi_gcp import appengine

from . import regions
from .args import AppArgs, SignInArgs
from .oauth_client import OAuthClient
from .place import Place
from .placeholder import Placeholder

_EXISTING = (
    "This project has an App Engine application already (from before, or from a stack that was destroyed: no "
    "application can be deleted). Set app.mode: import to take it over, with its Identity-Aware Proxy, or "
    "app.mode: existing to use it as it is; and app.placeholder: true if it has no service default yet."
)


class AppEngine(pulumi.ComponentResource):
    """A service depends on it, and with it on the page on the service `default`."""

    app_id: pulumi.Output[str]
    host: pulumi.Output[str]
    """Of its service `default`; others' names stand before it."""
    iap_audience: pulumi.Output[str]
    client_id: pulumi.Output[str | None]
    """The OAuth client's; None where others look after it and it cannot be read."""
    oauth_client_secret: pulumi.Output[str | None]
    """Where the OAuth client's secret is; None where others look after it."""
    kept: list[str]
    """What stays after a destroy, and why."""

    def __init__(
        self,
        place: Place,
        args: AppArgs,
        *,
        location: str,
        sign_in: SignInArgs,
        oauth_client_secret: pulumi.Input[str] | None,
        number: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``location`` is where it has to be, ``number`` the project's."""
        super().__init__("mlflow:gcp:AppEngine", place.named("app"), {}, opts)
        self.kept = []
        if args.mode == "existing":
            made = self._found(place, sign_in)
        else:
            made = self._managed(place, args, location, sign_in, oauth_client_secret)
        right = functools.partial(_in_its_place, wanted=location, project=place.project)
        self.app_id = pulumi.Output.all(made.app_id, made.location_id).apply(right)
        self.host = pulumi.Output.all(made.default_hostname, made.location_id).apply(right)
        self.iap_audience = pulumi.Output.format("/projects/{0}/apps/{1}", number, self.app_id)
        if args.placeholder or (args.placeholder is None and args.mode == "create" and args.service != "default"):
            page = Placeholder(place, code_bucket=made.code_bucket, opts=pulumi.ResourceOptions(parent=self))
            self.kept += page.kept
        self.register_outputs(
            {
                "app_id": self.app_id,
                "host": self.host,
                "iap_audience": self.iap_audience,
                "client_id": self.client_id,
                "oauth_client_secret": self.oauth_client_secret,
            }
        )

    def _found(self, place: Place, sign_in: SignInArgs) -> appengine.Application:
        found = appengine.Application.get(place.named("app"), place.project, opts=pulumi.ResourceOptions(parent=self))
        # There is a secret in what is read, which would make all of it one.
        told = pulumi.Output.unsecret(found.iap.apply(_client_id))
        self.client_id = told if sign_in.client_id is None else pulumi.Output.from_input(sign_in.client_id)
        self.oauth_client_secret = pulumi.Output.from_input(None)
        return found

    def _managed(
        self,
        place: Place,
        args: AppArgs,
        location: str,
        sign_in: SignInArgs,
        client_secret: pulumi.Input[str] | None,
    ) -> appengine.Application:
        client = OAuthClient(place, sign_in, client_secret=client_secret, opts=pulumi.ResourceOptions(parent=self))
        self.client_id, self.oauth_client_secret = client.client_id.apply(_maybe), client.secret.apply(_maybe)
        self.kept.append(
            f"the App Engine application of {place.project} with its buckets, and Identity-Aware Proxy on: Google has "
            "no way to delete an application but with its project"
        )
        taken_over = args.mode == "import"
        return appengine.Application(
            place.named("app"),
            project=place.project,
            location_id=location,
            iap=appengine.ApplicationIapArgs(
                enabled=True, oauth2_client_id=client.client_id, oauth2_client_secret=client.client_secret
            ),
            # Old applications have one health check alone; this service has two.
            feature_settings=appengine.ApplicationFeatureSettingsArgs(split_health_checks=True),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=place.deletion_protection,
                retain_on_delete=True,
                import_=place.project if taken_over else None,
                # It cannot change, and what the provider says to that names no setting: _in_its_place does.
                ignore_changes=["location_id"],
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m"),
                hooks=None if taken_over else _explains(place),
            ),
        )


def _explains(place: Place) -> pulumi.ResourceHookBinding:
    """Says which mode to set where there is an application already: nothing can be asked whether there is one."""
    return pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(place.named("app-is-there"), _which_mode)])


def _which_mode(args: pulumi.ErrorHookArgs) -> bool:
    said = args.errors[0]
    if any(word in said.lower() for word in ("error 409", "already exist")):
        raise pulumi.RunError(f"{_EXISTING} (Google said: {said})")
    return False


def _in_its_place(found: list[str], *, wanted: str, project: str) -> str:
    """The text of (text, location). Raises pulumi.RunError where the application is in another region."""
    text, location = found
    if regions.region_of(location) != regions.region_of(wanted):
        raise pulumi.RunError(
            f"The App Engine application of {project} is in {location}, not in {wanted}, and cannot move: "
            f"set app.location: {location}, or region: {regions.region_of(location)} to have everything there."
        )
    return text


def _client_id(iap: "appengine.outputs.ApplicationIap | None") -> str | None:
    if iap is None or not iap.enabled:
        pulumi.log.warn(
            "Identity-Aware Proxy is off in this App Engine application: MLflow answers nobody until it is switched on."
        )
    return (iap.oauth2_client_id or None) if iap else None


def _maybe(text: str) -> str | None:
    return text
