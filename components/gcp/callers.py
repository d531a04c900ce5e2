"""Who comes through Identity-Aware Proxy to MLflow, and the account for programs that call it.

People's accounts and groups are left to the caller. What somebody may do inside is the proxy's to say, by its rules.
"""

import hashlib
import re
from collections.abc import Sequence

import pulumi
from pulumi_gcp import iap, serviceaccount

from ..roles import RoleRules
from .app_engine import AppEngine
from .args import AccessArgs, ConditionArgs
from .place import Place
from .service import Service

_MAY_COME_IN = "roles/iap.httpsResourceAccessor"
_MAKES_OWN_TOKENS = "roles/iam.serviceAccountTokenCreator"
_GETS_ID_TOKENS = "roles/iam.serviceAccountOpenIdTokenCreator"


def roles_of_all(place: Place, access: AccessArgs) -> RoleRules:
    """The rules for people, and the one for the clients' account."""
    if not access.client_account:
        return access.roles
    role = access.client_role
    rules = [*getattr(access.roles, role), f"email:{_client_name(place)}@{place.project}.iam.gserviceaccount.com"]
    return access.roles.model_copy(update={role: rules})


class Callers(pulumi.ComponentResource):
    """Nobody else comes in, but who may in the whole project or application already."""

    client_account: pulumi.Output[str | None]
    """The e-mail address of the account for clients; None without one."""

    def __init__(
        self,
        place: Place,
        args: AccessArgs,
        *,
        desktop_client_ids: Sequence[str],
        app: AppEngine,
        service: Service,
        number: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``number`` is the project's."""
        super().__init__("mlflow:gcp:Callers", place.named("callers"), {}, opts)
        self._place, self._app, self._service = place, app, service
        # Identity-Aware Proxy knows a service when it has a version, and forgets it with the last one.
        self._after = pulumi.ResourceOptions(parent=self, depends_on=[service])
        for member in dict.fromkeys(args.members):
            self._lets_in(place.named(f"member-{_short(member)}"), member)
        for condition in args.conditional:
            for member in dict.fromkeys(condition.members):
                name = _short(f"{member} {condition.title} {condition.expression}")
                self._lets_in(place.named(f"member-{name}"), member, condition)
        if desktop_client_ids:
            self._takes_tokens_of(desktop_client_ids, number)
        self.client_account = pulumi.Output.from_input(None)
        if args.client_account:
            self.client_account = self._client(args).apply(_maybe)
        self.register_outputs({"client_account": self.client_account})

    def _lets_in(self, name: str, member: pulumi.Input[str], condition: ConditionArgs | None = None) -> None:
        iap.AppEngineServiceIamMember(
            name,
            project=self._place.project,
            app_id=self._app.app_id,
            service=self._service.service,
            role=_MAY_COME_IN,
            member=member,
            condition=None
            if condition is None
            else iap.AppEngineServiceIamMemberConditionArgs(
                title=condition.title, expression=condition.expression, description=condition.description
            ),
            opts=self._after,
        )

    def _takes_tokens_of(self, client_ids: Sequence[str], number: pulumi.Input[str]) -> None:
        iap.Settings(
            self._place.named("programs"),
            name=pulumi.Output.format(
                # By the project's number: Google answers with it, and a name cannot change.
                "projects/{0}/iap_web/appengine-{1}/services/{2}",
                number,
                self._app.app_id,
                self._service.service,
            ),
            access_settings=iap.SettingsAccessSettingsArgs(
                oauth_settings=iap.SettingsAccessSettingsOauthSettingsArgs(programmatic_clients=list(client_ids))
            ),
            opts=self._after,
        )

    def _client(self, args: AccessArgs) -> pulumi.Output[str]:
        place, inside = self._place, pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            place.named("client"),
            project=place.project,
            account_id=_client_name(place),
            display_name=f"Programs that call MLflow, {place.stack}",
            opts=inside,
        )
        self._lets_in(place.named("client"), account.member)
        # It signs its own tokens where only its name is known: on a machine that runs as it.
        serviceaccount.IAMMember(
            place.named("client"),
            service_account_id=account.name,
            role=_MAKES_OWN_TOKENS,
            member=account.member,
            opts=inside,
        )
        # Without a client id there are only tokens that the account signs, which takes the larger right.
        role = self._app.client_id.apply(lambda client_id: _GETS_ID_TOKENS if client_id else _MAKES_OWN_TOKENS)
        for member in dict.fromkeys(args.client_users):
            serviceaccount.IAMMember(
                place.named(f"client-user-{_short(member)}"),
                service_account_id=account.name,
                role=role,
                member=member,
                opts=inside,
            )
        return account.email


def _client_name(place: Place) -> str:
    return place.physical_name("client", 30)


def _short(text: str) -> str:
    """A part of a name in the program: to be read, and another one for another text."""
    read = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-")
    return f"{read}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _maybe(text: str) -> str | None:
    return text
