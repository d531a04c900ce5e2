"""Requests for buckets, SageMaker, the image and secrets, by resource type."""

from collections.abc import Mapping

from .rows import ID, TAG_ACTIONS, Row, create_linked_role, on_resource, pass_role, use_key, without_resource

ROWS: Mapping[str, tuple[Row, ...]] = {
    # -- buckets
    "aws:s3/bucket:Bucket": (
        on_resource(
            "s3",
            "{name}",
            # The provider reads every configuration of a bucket, also those that are not set.
            "CreateBucket ListBucket GetBucketLocation GetBucketPolicy GetBucketAcl GetBucketCORS GetBucketWebsite "
            "GetBucketVersioning GetAccelerateConfiguration GetBucketRequestPayment GetBucketLogging "
            "GetLifecycleConfiguration GetReplicationConfiguration GetEncryptionConfiguration "
            "GetBucketObjectLockConfiguration GetBucketTagging PutBucketTagging TagResource UntagResource "
            "ListTagsForResource ListBucketVersions DeleteBucket",
        ),
        on_resource("s3", "{name}/mlflow/1/artifacts/model.pkl", "DeleteObject DeleteObjectVersion"),
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        on_resource("s3", "{name}", "PutLifecycleConfiguration GetLifecycleConfiguration"),
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": (
        on_resource("s3", "{name}", "PutBucketOwnershipControls GetBucketOwnershipControls"),
    ),
    "aws:s3/bucketPolicy:BucketPolicy": (
        on_resource("s3", "{name}", "PutBucketPolicy GetBucketPolicy DeleteBucketPolicy"),
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": (
        on_resource("s3", "{name}", "PutBucketPublicAccessBlock GetBucketPublicAccessBlock"),
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        on_resource("s3", "{name}", "PutEncryptionConfiguration GetEncryptionConfiguration"),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": (
        on_resource("s3", "{name}", "PutBucketVersioning GetBucketVersioning"),
    ),
    # -- SageMaker
    "aws:sagemaker/mlflowApp:MlflowApp": (
        on_resource(
            "sagemaker",
            f"mlflow-app/app-{ID}",
            "CreateMlflowApp DescribeMlflowApp UpdateMlflowApp DeleteMlflowApp AddTags DeleteTags ListTags",
        ),
        pass_role("sagemaker.amazonaws.com"),
    ),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": (
        on_resource(
            "sagemaker",
            "mlflow-tracking-server/{name}",
            "CreateMlflowTrackingServer DescribeMlflowTrackingServer UpdateMlflowTrackingServer "
            "DeleteMlflowTrackingServer AddTags DeleteTags ListTags",
        ),
        pass_role("sagemaker.amazonaws.com"),
    ),
    "aws:sagemaker/domain:Domain": (
        on_resource(
            "sagemaker",
            f"domain/d-{ID}",
            "CreateDomain DescribeDomain UpdateDomain DeleteDomain AddTags DeleteTags ListTags",
        ),
        pass_role("sagemaker.amazonaws.com"),
        create_linked_role("sagemaker.amazonaws.com"),
        # With a customer key: https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html
        without_resource("elasticfilesystem", "CreateFileSystem"),
        use_key("elasticfilesystem", "DescribeKey CreateGrant Decrypt GenerateDataKeyWithoutPlaintext"),
        use_key("sagemaker", "DescribeKey CreateGrant Decrypt GenerateDataKeyWithoutPlaintext"),
    ),
    "aws:sagemaker/userProfile:UserProfile": (
        on_resource(
            "sagemaker",
            f"user-profile/d-{ID}/ann",
            "CreateUserProfile DescribeUserProfile UpdateUserProfile DeleteUserProfile AddTags DeleteTags ListTags",
        ),
        pass_role("sagemaker.amazonaws.com"),
    ),
    # -- image and secrets
    "aws:ecr/repository:Repository": (
        on_resource(
            "ecr",
            "repository/{name}",
            "CreateRepository DescribeRepositories DeleteRepository PutImageScanningConfiguration "
            f"PutImageTagMutability {TAG_ACTIONS}",
        ),
        # https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
        use_key("ecr", "DescribeKey CreateGrant RetireGrant"),
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": (
        on_resource("ecr", "repository/{name}", "PutLifecyclePolicy GetLifecyclePolicy DeleteLifecyclePolicy"),
    ),
    # A push, and a read at refresh: https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
    "docker-build:index:Image": (
        on_resource(
            "ecr",
            "repository/{name}",
            "BatchCheckLayerAvailability InitiateLayerUpload UploadLayerPart CompleteLayerUpload PutImage "
            "BatchGetImage GetDownloadUrlForLayer",
        ),
    ),
    "aws:secretsmanager/secret:Secret": (
        on_resource(
            "secretsmanager",
            "secret:{name}-AbCdEf",
            "CreateSecret DescribeSecret GetResourcePolicy UpdateSecret DeleteSecret TagResource UntagResource",
        ),
        use_key("secretsmanager", "Decrypt GenerateDataKey"),
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": (
        on_resource(
            "secretsmanager",
            "secret:{name}-AbCdEf",
            "PutSecretValue GetSecretValue DescribeSecret ListSecretVersionIds UpdateSecretVersionStage",
        ),
        use_key("secretsmanager", "Decrypt GenerateDataKey"),
    ),
}
