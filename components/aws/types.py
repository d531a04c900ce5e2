"""Types of settings that hold AWS identifiers; each also accepts another resource's Output."""

from typing import TYPE_CHECKING

import pulumi

from ..validation import input_type

if TYPE_CHECKING:
    Arn = CertificateArn = KmsKeyArn = PolicyArn = ResourceId = ZoneId = pulumi.Input[str]
else:
    Arn = input_type(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:(\d{12}|aws)?:\S+", "an ARN (arn:aws:...)")
    CertificateArn = input_type(
        r"arn:[a-z-]+:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+", "an ACM certificate ARN (arn:aws:acm:...)"
    )
    KmsKeyArn = input_type(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[\w-]+", "a KMS key ARN (arn:aws:kms:...:key/...)")
    PolicyArn = input_type(
        r"arn:[a-z-]+:iam::(\d{12}|aws):policy/\S+", "an IAM policy ARN (arn:aws:iam::...:policy/...)"
    )
    ResourceId = input_type(r"[a-z]+-[0-9a-f]{8,}", "an AWS resource ID, such as vpc-0123456789abcdef0")
    ZoneId = input_type(r"Z[A-Z0-9]{3,31}", "a Route 53 hosted zone ID, such as Z0123456789ABCDEFGHIJ")
