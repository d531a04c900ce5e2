"""Example values of every setting, and helpers of the tests of settings."""

from pathlib import Path
from typing import Any

import pytest

from proxy_app.artifacts.root import ArtifactRoot
from proxy_app.setting_table import SettingsError
from proxy_app.setting_values import MIB, Address
from proxy_app.settings import Settings

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-1"
ALB = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mlflow/50dc6c495c0c9188"
PLAIN = {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000", "MLFLOW_PROXY_TOKENS_FILE": "tokens.json"}
SIGNED = {"MLFLOW_PROXY_TARGET_ARN": ARN, "MLFLOW_PROXY_TOKENS_FILE": "tokens.json"}
SSO = {
    **PLAIN,
    "MLFLOW_PROXY_ALB_ARN": ALB,
    "MLFLOW_PROXY_ALB_ISSUER": "https://issuer.example.com",
    "MLFLOW_PROXY_ALB_CLIENT_ID": "mlflow",
    "MLFLOW_PROXY_ROLE_RULES": "group:ml-admins=admin",
}
IAP = {
    "MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000",
    "MLFLOW_PROXY_IAP_AUDIENCE": "/projects/123456789012/apps/my-project",
    "MLFLOW_PROXY_ROLE_RULES": "domain:example.org=viewer",
}

# Variable: (text, attribute, parsed value, other variables that it requires).
EXAMPLES: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "MLFLOW_PROXY_TARGET_ARN": (ARN, "target_arn", ARN, SIGNED),
    "MLFLOW_PROXY_TARGET_ENDPOINT": ("https://a.example:8443/", "target_endpoint", "https://a.example:8443", SIGNED),
    "MLFLOW_PROXY_ASSUME_ROLE_ARN": ("arn:aws:iam::1:role/x", "assume_role_arn", "arn:aws:iam::1:role/x", SIGNED),
    "MLFLOW_PROXY_UPSTREAM_URL": ("http://[::1]:5000", "upstream_url", "http://[::1]:5000", PLAIN),
    "MLFLOW_PROXY_UI_URL": ("http://LOCALHOST:5001/", "ui_url", "http://localhost:5001", SIGNED),
    "AWS_CA_BUNDLE": ("/etc/ca.pem", "ca_bundle", Path("/etc/ca.pem"), PLAIN),
    "MLFLOW_PROXY_LISTEN": (":8081", "listen", Address("0.0.0.0", 8081), PLAIN),
    "MLFLOW_PROXY_METRICS_LISTEN": ("[::1]:0", "metrics_listen", Address("::1", 0), PLAIN),
    "MLFLOW_PROXY_PUBLIC_URL": ("https://MLflow.example.com:443", "public_url", "https://mlflow.example.com", PLAIN),
    "MLFLOW_PROXY_PATH_PREFIX": ("/team/mlflow/", "path_prefix", "/team/mlflow", PLAIN),
    "MLFLOW_PROXY_ALLOWED_HOSTS": (
        "MLflow.example.com,*-dot-a.example.com , 10.0.0.1",
        "allowed_hosts",
        ("mlflow.example.com", "*-dot-a.example.com", "10.0.0.1"),
        PLAIN,
    ),
    "MLFLOW_PROXY_USER_TAG": ("true", "user_tag", True, PLAIN),
    "MLFLOW_PROXY_BODY_LIMIT_MIB": ("8", "body_limit", 8 * MIB, PLAIN),
    "MLFLOW_PROXY_BODY_BUDGET_MIB": ("64", "body_budget", 64 * MIB, PLAIN),
    "MLFLOW_PROXY_BODY_TIMEOUT_SECONDS": ("30", "body_timeout", 30.0, PLAIN),
    "MLFLOW_PROXY_RESPONSE_BUDGET_MIB": ("64", "response_budget", 64 * MIB, PLAIN),
    "MLFLOW_PROXY_MAX_CONNECTIONS": ("10", "max_connections", 10, PLAIN),
    "MLFLOW_PROXY_MAX_REQUESTS": ("11", "max_requests", 11, PLAIN),
    "MLFLOW_PROXY_HEADER_LIMIT_BYTES": ("8190", "header_limit", 8190, PLAIN),
    "MLFLOW_PROXY_CONNECT_TIMEOUT_SECONDS": ("1", "connect_timeout", 1.0, PLAIN),
    "MLFLOW_PROXY_UPSTREAM_TIMEOUT_SECONDS": ("1e2", "upstream_timeout", 100.0, PLAIN),
    "MLFLOW_PROXY_LONG_UPSTREAM_TIMEOUT_SECONDS": ("600", "long_upstream_timeout", 600.0, PLAIN),
    "MLFLOW_PROXY_UPSTREAM_KEEPALIVE_SECONDS": ("0", "upstream_keepalive", 0.0, PLAIN),
    "MLFLOW_PROXY_KEEPALIVE_SECONDS": ("70", "keepalive", 70.0, PLAIN),
    "MLFLOW_PROXY_DRAIN_SECONDS": ("0", "drain", 0.0, PLAIN),
    "MLFLOW_PROXY_GRACE_SECONDS": ("600", "grace", 600.0, PLAIN),
    "MLFLOW_PROXY_PRINCIPAL_MAX_REQUESTS": ("8", "principal_max_requests", 8, PLAIN),
    "MLFLOW_PROXY_PRINCIPAL_REQUESTS_PER_SECOND": ("20", "principal_requests_per_second", 20, PLAIN),
    "MLFLOW_PROXY_QUEUE_SECONDS": ("2.5", "queue_seconds", 2.5, PLAIN),
    "MLFLOW_PROXY_ARTIFACTS_URI": ("s3://team/mlflow/", "artifacts_root", ArtifactRoot("team", "mlflow"), SIGNED),
    "MLFLOW_PROXY_PRESIGNED_TRANSFERS": (
        "true",
        "presigned_transfers",
        True,
        {**SIGNED, "MLFLOW_PROXY_ARTIFACTS_URI": "s3://team/mlflow"},
    ),
    "AWS_ENDPOINT_URL_S3": ("http://127.0.0.1:9000/", "s3_endpoint", "http://127.0.0.1:9000", SIGNED),
    "MLFLOW_PROXY_AUTH": ("off", "auth", False, {"MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:5000"}),
    "MLFLOW_PROXY_TOKENS_FILE": ("other.json", "tokens_file", Path("other.json"), PLAIN),
    "MLFLOW_PROXY_TOKENS_SECRET": ("team/tokens", "tokens_secret", "team/tokens", {"MLFLOW_PROXY_TARGET_ARN": ARN}),
    "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS": ("0.5", "tokens_reload", 0.5, PLAIN),
    "MLFLOW_PROXY_TOKENS_MAX_AGE_SECONDS": ("60", "tokens_max_age", 60.0, PLAIN),
    "MLFLOW_PROXY_ALB_ARN": (ALB, "alb_arn", ALB, SSO),
    "MLFLOW_PROXY_ALB_ISSUER": ("https://a.example/", "alb_issuer", "https://a.example/", SSO),
    "MLFLOW_PROXY_ALB_CLIENT_ID": ("other", "alb_client_id", "other", SSO),
    "MLFLOW_PROXY_ALB_KEYS_URL": ("https://a.example:8443/alb/", "alb_keys_url", "https://a.example:8443/alb", SSO),
    "MLFLOW_PROXY_ALB_GROUPS_CLAIM": ("custom:groups", "alb_groups_claim", "custom:groups", SSO),
    "MLFLOW_PROXY_IAP_AUDIENCE": (
        "/projects/1/apps/example.com:other-1",
        "iap_audience",
        "/projects/1/apps/example.com:other-1",
        IAP,
    ),
    "MLFLOW_PROXY_IAP_KEYS_URL": ("https://a.example/iap/jwk/", "iap_keys_url", "https://a.example/iap/jwk", IAP),
    "MLFLOW_PROXY_IAP_KEYS_MAX_AGE_SECONDS": ("600", "iap_keys_max_age", 600.0, IAP),
    "MLFLOW_PROXY_ROLE_RULES": ("domain:a.example=viewer", "role_rules", "domain:a.example=viewer", SSO),
}
NAMES = [name for name, _, _ in Settings.table()]


def value_of(settings: Settings, attribute: str) -> object:
    """The value of a setting of the proxy or of an authenticator."""
    tables = [settings, *(settings.section(table) for table in Settings.tables()[1:])]
    return next(getattr(table, attribute) for table in tables if hasattr(table, attribute))


def problems(environ: dict[str, str]) -> list[str]:
    """The lines of the SettingsError that these variables cause."""
    with pytest.raises(SettingsError) as error:
        Settings.from_env(environ)
    return str(error.value).splitlines()
