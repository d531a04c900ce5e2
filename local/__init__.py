"""`make up`: MLflow, S3, the fake SageMaker and the proxy on one machine; no cloud account."""
