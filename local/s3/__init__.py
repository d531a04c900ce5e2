"""S3 on this machine: moto's server, with its objects kept on disk."""

# moto takes any signature; these are only what a client has to have.
ACCESS_KEY = "local"
SECRET_KEY = "local-s3-only"  # noqa: S105
REGION = "us-east-1"
BUCKET = "mlflow"


def client_environ(url: str) -> dict[str, str]:
    """What an MLflow client or server needs for the S3 at `url`, and for no other."""
    return {
        "MLFLOW_S3_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }
