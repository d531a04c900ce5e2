"""The bucket of the load balancer's access logs."""

import pulumi

from .bucket import PrivateBucket, private_bucket
from .deployment import Deployment
from .identity import Statement


def access_logs(deployment: Deployment, *, days: int, parent: pulumi.Resource) -> PrivateBucket:
    """The load balancer must depend on it: when logging is enabled, AWS writes a test file and fails if it cannot.

    On destroy, the load balancer is deleted first, so that no late log file prevents the deletion of the empty bucket.
    """
    return private_bucket(
        deployment,
        "access-logs",
        parent=parent,
        noncurrent_days=None,
        expire_days=days,
        statements=lambda bucket: [_delivery(deployment, bucket)],
        protect=deployment.deletion_protection,
        # Access logs support SSE-S3 only.
        kms=False,
    )


def _delivery(deployment: Deployment, bucket: pulumi.Output[str]) -> Statement:
    """Allow Elastic Load Balancing to write the logs of this account's load balancers.

    The service principal is the same in every region and replaces the regional account IDs; the account ID in the path
    excludes load balancers of other accounts. AWS documents no condition key for these writes, and a condition on a key
    that is not sent would deny them.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
    """
    return {
        "Sid": "AccessLogs",
        "Effect": "Allow",
        "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": pulumi.Output.concat(bucket, "/AWSLogs/", deployment.account, "/*"),
    }
