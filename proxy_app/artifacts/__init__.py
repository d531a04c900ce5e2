"""Artifacts through the proxy: clients see ``mlflow-artifacts:/`` where MLflow stores ``s3://BUCKET/PREFIX``."""
