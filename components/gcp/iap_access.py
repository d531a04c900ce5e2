"""Access to MLflow through Identity-Aware Proxy, and the service account for client programs.

Out of scope: users' accounts and groups. What users may do in MLflow is decided by the proxy's role rules.
"""

import hashlib
import re
from collections.abc import Sequence

import pulumi
from pulumi_gcp import iap, serviceaccount

from .app_engine import AppEngine
from .canary import canary_account_id
from .deployment import Deployment
from .service import Service
from .settings import AccessSettings, ConditionSettings

_IAP_ACCESSOR = "roles/iap.httpsResourceAccessor"
_TOKEN_CREATOR = "roles/iam.serviceAccountTokenCreator"  # noqa: S105 - a role
_ID_TOKEN_CREATOR = "roles/iam.serviceAccountOpenIdTokenCreator"  # noqa: S105 - a role


def all_role_rules(deployment: Deployment, access: AccessSettings, *, canary: bool) -> pulumi.Input[str] | None:
    """The configured role rules and those of the stack's service accounts, as text; None without any."""
    accounts: list[tuple[str, pulumi.Output[str]]] = []
    if access.client_service_account:
        accounts.append((access.client_role, _client_account_id(deployment)))
    if canary:
        accounts.append(("viewer", canary_account_id(deployment)))
    if not accounts:
        return access.roles.text() if access.roles.any() else None

    def with_accounts(ids: list[str]) -> str:
        roles = access.roles
        for (role, _), account_id in zip(accounts, ids, strict=True):
            rules = [*getattr(roles, role), f"email:{account_id}@{deployment.project}.iam.gserviceaccount.com"]
            roles = roles.model_copy(update={role: rules})
        return roles.text()

    return pulumi.Output.all(*[account_id for _, account_id in accounts]).apply(with_accounts)


class IapAccess(pulumi.ComponentResource):
    """IAM bindings on the service; bindings on the project or the application grant access, too."""

    client_service_account: pulumi.Output[str | None]
    """E-mail address of the client service account; None without one."""

    def __init__(
        self,
        deployment: Deployment,
        args: AccessSettings,
        *,
        desktop_client_ids: Sequence[str],
        app: AppEngine,
        service: Service,
        number: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``number`` is the project number."""
        super().__init__("mlflow:gcp:IapAccess", deployment.component, {}, opts)
        self._place, self._app, self._service = deployment, app, service
        # For Identity-Aware Proxy, a service exists from its first version until its last one is deleted.
        self._after = pulumi.ResourceOptions(parent=self, depends_on=[service])
        for member in dict.fromkeys(args.members):
            self._grant_access(deployment.logical_name(f"member-{_name_part(member)}"), member)
        for condition in args.conditional:
            for member in dict.fromkeys(condition.members):
                name = _name_part(f"{member} {condition.title} {condition.expression}")
                self._grant_access(deployment.logical_name(f"member-{name}"), member, condition)
        if desktop_client_ids:
            self._allow_programmatic_clients(desktop_client_ids, number)
        self.client_service_account = pulumi.Output.from_input(None)
        if args.client_service_account:
            self.client_service_account = self._create_client_service_account(args).apply(_maybe)
        self.register_outputs({"client_service_account": self.client_service_account})

    def _grant_access(self, name: str, member: pulumi.Input[str], condition: ConditionSettings | None = None) -> None:
        iap.AppEngineServiceIamMember(
            name,
            project=self._place.project,
            app_id=self._app.app_id,
            service=self._service.service,
            role=_IAP_ACCESSOR,
            member=member,
            condition=None
            if condition is None
            else iap.AppEngineServiceIamMemberConditionArgs(
                title=condition.title, expression=condition.expression, description=condition.description
            ),
            opts=self._after,
        )

    def _allow_programmatic_clients(self, client_ids: Sequence[str], number: pulumi.Input[str]) -> None:
        iap.Settings(
            self._place.logical_name("programmatic-clients"),
            name=pulumi.Output.format(
                # With the project number: the API returns it, and a change of name replaces the resource.
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

    def _create_client_service_account(self, args: AccessSettings) -> pulumi.Output[str]:
        deployment, inside = self._place, pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            deployment.logical_name("client"),
            project=deployment.project,
            account_id=_client_account_id(deployment),
            display_name=pulumi.Output.concat("MLflow clients, ", deployment.stack),
            # Roles that others granted to it do not apply to a new account with the same name.
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        self._grant_access(deployment.logical_name("client"), account.member)
        # For self-signed tokens on machines that run as this account and have no key.
        serviceaccount.IAMMember(
            deployment.logical_name("client"),
            service_account_id=account.name,
            role=_TOKEN_CREATOR,
            member=account.member,
            opts=inside,
        )
        # Without an OAuth client ID, only self-signed tokens work, which need the broader role.
        role = self._app.client_id.apply(lambda client_id: _ID_TOKEN_CREATOR if client_id else _TOKEN_CREATOR)
        for member in dict.fromkeys(args.client_impersonators):
            serviceaccount.IAMMember(
                deployment.logical_name(f"client-impersonator-{_name_part(member)}"),
                service_account_id=account.name,
                role=role,
                member=member,
                opts=inside,
            )
        return account.email


def _client_account_id(deployment: Deployment) -> pulumi.Output[str]:
    return deployment.physical_name("client", 30)


def _name_part(text: str) -> str:
    """A readable part of a resource name, unique for each text."""
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-")
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _maybe(text: str) -> str | None:
    return text
