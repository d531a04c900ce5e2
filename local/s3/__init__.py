"""A local S3: moto's server with its objects on disk."""

# moto accepts any signature; clients need some credentials nevertheless.
ACCESS_KEY = "local"
SECRET_KEY = "local-s3-only"  # noqa: S105
REGION = "us-east-1"
BUCKET = "mlflow"
ARTIFACTS = f"s3://{BUCKET}/artifacts"


def client_environ(url: str) -> dict[str, str]:
    """The environment variables with which MLflow's clients and server use the S3 at `url`."""
    return {
        "MLFLOW_S3_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }
