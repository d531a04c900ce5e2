"""The Google Cloud component: MLflow behind the proxy on App Engine and Identity-Aware Proxy."""
