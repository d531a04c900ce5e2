"""`make up`: MLflow, S3, the fake SageMaker and the proxy on one machine, without a cloud account."""
