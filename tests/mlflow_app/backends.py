"""The services that the image uses in tests, and the image's settings for them."""

import dataclasses

from tests.doubles import gcs
from tests.doubles.cloud_sql import CONNECTION_NAME, CloudSql
from tests.doubles.mysql import Database, MySql
from tests.doubles.running_proxy import Tokens
from tests.doubles.secret_manager import PROJECT, SecretManager


@dataclasses.dataclass(frozen=True, slots=True)
class Backends:
    """A database server, the Cloud SQL instance in front of it, a bucket, a Secret Manager and the proxy's tokens."""

    server: MySql
    instance: CloudSql
    bucket: dict[str, str]
    secrets: SecretManager
    tokens: Tokens

    def settings(self, database: Database, **changes: str) -> dict[str, str]:
        """Settings with the instance, a static password, proxied artifacts, and `changes`; empty ones are left out."""
        settings = {
            "MLFLOW_APP_DATABASE_INSTANCE": CONNECTION_NAME,
            "MLFLOW_APP_SQL_ADMIN_URL": self.instance.url,
            "MLFLOW_APP_DATABASE_NAME": database.name,
            "MLFLOW_APP_DATABASE_USER": database.user,
            "MLFLOW_APP_DATABASE_PASSWORD": database.password,
            "MLFLOW_APP_DATABASE_STARTUP_TIMEOUT_SECONDS": "60",
            "MLFLOW_APP_ARTIFACTS_DESTINATION": f"gs://{gcs.BUCKET}/artifacts",
            "MLFLOW_APP_WORKERS": "2",
            "MLFLOW_PROXY_TOKENS_FILE": str(self.tokens.file),
            "MLFLOW_PROXY_DRAIN_SECONDS": "1",
            **self.bucket,
            **self.secrets.environ,
            **changes,
        }
        return {name: text for name, text in settings.items() if text}

    def password_from_secret(self, name: str) -> dict[str, str]:
        """Changes for `settings`: the password from Secret Manager."""
        return {
            "MLFLOW_APP_DATABASE_PASSWORD": "",
            "MLFLOW_APP_DATABASE_PASSWORD_SECRET": f"projects/{PROJECT}/secrets/{name}",
            "MLFLOW_APP_SECRET_MANAGER_URL": self.secrets.url,
        }

    def by_address(self) -> dict[str, str]:
        """Changes for `settings`: the server's address instead of the instance."""
        return {
            "MLFLOW_APP_DATABASE_INSTANCE": "",
            "MLFLOW_APP_DATABASE_ADDRESS": f"127.0.0.1:{self.server.port}",
        }
