"""The MLflow auth proxy: an authenticating reverse proxy for SageMaker's MLflow or a plain MLflow server."""

__version__ = "0.1.0"
