"""Searches for MLflow apps, tracking servers and the Studio domain."""

import re
from collections.abc import Iterator
from typing import Any

from preflight.runner import in_parallel
from preflight.subject import Subject

from ..model import Left, search
from ..owner import Owner
from .tags import AWS, as_dict, is_owned, options_of, removed_groups, vpcs_of

_DOMAIN = "aws:sagemaker/domain:Domain"
_APP, _SERVER = "aws:sagemaker/mlflowApp:MlflowApp", "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer"
_NFS = re.compile(r"security-group-for-(?:in|out)bound-nfs-(d-[a-z0-9]+)")
# https://docs.aws.amazon.com/sagemaker/latest/dg/studio-tasks-manage-storage.html
_EFS_TAG = "ManagedByAmazonSageMakerResource"


@search("aws SageMaker MLflow", types=AWS)
def mlflow(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No MLflow app or tracking server is left. Their runs are deleted with them."""
    apps = [
        (_APP, one["Arn"], "mlflow-app --arn") for one in subject.aws.call("sagemaker", "list_mlflow_apps")["Summaries"]
    ]
    servers = [
        (_SERVER, one["TrackingServerArn"], "mlflow-tracking-server --tracking-server-name")
        for one in subject.aws.call("sagemaker", "list_mlflow_tracking_servers")["TrackingServerSummaries"]
    ]
    found = [*apps, *servers]
    tags = in_parallel(lambda one: subject.aws.call("sagemaker", "list_tags", ResourceArn=one[1])["Tags"], found)
    for (type_token, arn, operation), its in zip(found, tags, strict=True):
        if is_owned(its, owners):
            name = arn.rpartition("/")[2]
            identity = arn if type_token == _APP else name
            what = "MLflow app" if type_token == _APP else "MLflow tracking server"
            command = f"aws sagemaker delete-{operation} {identity}{options_of(subject)}"
            yield Left(f"{what} {name}", command, type_token, (arn, name))


@search("aws Studio", types=AWS)
def studio(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No Studio domain is left, and neither its file system nor its security groups, which AWS creates without tags."""
    options = options_of(subject)
    names = {owner.physical_name("studio", 63) for owner in owners}
    domains = {one["DomainId"]: one["DomainName"] for one in subject.aws.call("sagemaker", "list_domains")["Domains"]}
    groups = [(group, domain) for group in _nfs_groups(subject, owners) for domain in _NFS.findall(group["GroupName"])]
    ours = [domain for domain, name in domains.items() if name in names]
    # The groups of a domain that does not exist any more are in the stack's VPC.
    ours += dict.fromkeys(domain for _, domain in groups if domain not in domains)
    for domain in ours:
        within = (_DOMAIN, domain)
        if domain in domains:
            found = subject.aws.call("sagemaker", "list_user_profiles", DomainIdEquals=domain)
            for profile in found["UserProfiles"]:
                name = profile["UserProfileName"]
                command = f"aws sagemaker delete-user-profile --domain-id {domain} --user-profile-name {name}{options}"
                yield Left(f"user profile {name} of the domain {domain}", command, within=within)
            command = (
                f"aws sagemaker delete-domain --domain-id {domain} --retention-policy HomeEfsFileSystem=Delete{options}"
            )
            yield Left(f"Studio domain {domains[domain]} ({domain})", command, _DOMAIN, (domain,))
    for system in subject.aws.call("efs", "describe_file_systems")["FileSystems"]:
        domain = as_dict(system.get("Tags", [])).get(_EFS_TAG, "").rpartition("/")[2]
        if domain in ours:
            name = system["FileSystemId"]
            targets = (
                f"aws efs describe-mount-targets --file-system-id {name} --query MountTargets[].[MountTargetId] "
                f"--output text{options} | xargs -r -n 1 aws efs delete-mount-target{options} --mount-target-id"
            )
            yield Left(f"mount targets of the file system {name}", targets, within=(_DOMAIN, domain))
            command = f"aws efs delete-file-system --file-system-id {name}{options}"
            yield Left(f"file system {name} of the domain {domain}", command, within=(_DOMAIN, domain))
    for group, domain in groups:
        if domain in ours:
            yield from (one._replace(within=(_DOMAIN, domain)) for one in removed_groups(subject, [group]))


def _nfs_groups(subject: Subject, owners: list[Owner]) -> list[dict[str, Any]]:
    vpcs = vpcs_of(subject, owners)
    if not vpcs:
        return []
    filters = [{"Name": "vpc-id", "Values": vpcs}, {"Name": "group-name", "Values": ["security-group-for-*-nfs-*"]}]
    return subject.aws.call("ec2", "describe_security_groups", Filters=filters)["SecurityGroups"]
