"""The MLflow auth proxy."""

__version__ = "0.1.0"
