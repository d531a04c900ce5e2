"""The bucket of the load balancer's access logs."""

import pulumi

from .bucket import PrivateBucket, private_bucket
from .deployment import Deployment
from .identity import Statement


def access_logs(deployment: Deployment, *, days: int, parent: pulumi.Resource) -> PrivateBucket:
    """A load balancer depends on it: on enabling logs, AWS writes a test file, and refuses if that fails.

    On destroy the load balancer goes first, the policy next: no late log file makes the emptied bucket undeletable.
    """
    return private_bucket(
        deployment,
        "access-logs",
        parent=parent,
        noncurrent_days=None,
        expire_days=days,
        statements=lambda bucket: [_delivery(deployment, bucket)],
        protect=deployment.deletion_protection,
        # The only encryption that access logs take is S3's own.
        kms=False,
    )


def _delivery(deployment: Deployment, bucket: pulumi.Output[str]) -> Statement:
    """Elastic Load Balancing's log delivery may write the logs of this account's load balancers.

    The service's name holds in every region and has replaced the account id of each; the account in the path is what
    keeps others' load balancers out. AWS documents no condition key for these writes, and one that it does not send
    would refuse them all.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
    """
    return {
        "Sid": "AccessLogs",
        "Effect": "Allow",
        "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": pulumi.Output.concat(bucket, "/AWSLogs/", deployment.account, "/*"),
    }
