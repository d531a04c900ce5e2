"""`make up`: MLflow, S3, SageMaker's stand-in and the proxy on one machine; no cloud account."""
