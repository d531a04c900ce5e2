"""A host name of your own for MLflow, with a certificate that App Engine manages.

Out of scope: the DNS records, and the verification of the domain's owner in Search Console.
"""

import functools
from collections.abc import Sequence

import pulumi
from pulumi_gcp import appengine

from ..failure_hint import failure_hint
from .deployment import Deployment
from .service import Service


class Domain(pulumi.ComponentResource):
    """The domain mapping, and the dispatch rule without which App Engine sends its requests to the service default."""

    dns_records: pulumi.Output[list[str]]
    """Records that the domain needs, each NAME TYPE DATA."""

    def __init__(
        self, deployment: Deployment, *, domain: str, service: Service, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlflow:gcp:Domain", deployment.component, {}, opts)
        served: list[pulumi.Resource] = [service]
        if service.service != "default":
            # One resource holds all dispatch rules of the application.
            served.append(
                appengine.ApplicationUrlDispatchRules(
                    deployment.logical_name("domain"),
                    project=deployment.project,
                    dispatch_rules=[
                        appengine.ApplicationUrlDispatchRulesDispatchRuleArgs(
                            domain=domain, path="/*", service=service.service
                        )
                    ],
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
                )
            )
        mapping = appengine.DomainMapping(
            deployment.logical_name("domain"),
            project=deployment.project,
            domain_name=domain,
            ssl_settings=appengine.DomainMappingSslSettingsArgs(ssl_management_type="AUTOMATIC"),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=served,
                hooks=failure_hint(
                    deployment.logical_name("domain-failed"),
                    f"The deployer must be a verified owner of {domain} or of a domain above it: docs/gcp.md, A domain "
                    "of your own.",
                ),
            ),
        )
        self.dns_records = mapping.resource_records.apply(functools.partial(_records, domain))
        self.register_outputs({"dns_records": self.dns_records})


def _records(domain: str, records: "Sequence[appengine.outputs.DomainMappingResourceRecord]") -> list[str]:
    # The name in Google's record is relative to the zone, and missing for the zone itself.
    return [f"{domain} {record.type} {record.rrdata}" for record in records]
