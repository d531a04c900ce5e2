"""`make up`: MLflow, S3, SageMaker's stand-in and the gate on one machine; no cloud account."""
