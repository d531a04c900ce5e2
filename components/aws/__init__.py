"""The AWS component: SageMaker's managed MLflow behind the proxy on ECS."""
