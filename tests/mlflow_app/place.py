"""Where the image runs in tests: a database, a bucket, a Secret Manager, and the settings for them."""

import dataclasses

from tests.doubles import gcs
from tests.doubles.mariadb import Database, MariaDb
from tests.doubles.running_proxy import Tokens
from tests.doubles.secret_manager import PROJECT, SecretManager


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where the image runs: settings for it on a database here."""

    server: MariaDb
    bucket: dict[str, str]
    secrets: SecretManager
    tokens: Tokens

    def settings(self, database: Database, **changes: str) -> dict[str, str]:
        """Over the socket, the password given, artifacts proxied."""
        told = {
            "MLFLOW_APP_DATABASE_SOCKET": str(self.server.socket),
            "MLFLOW_APP_DATABASE_NAME": database.name,
            "MLFLOW_APP_DATABASE_USER": database.user,
            "MLFLOW_APP_DATABASE_PASSWORD": database.password,
            "MLFLOW_APP_DATABASE_STARTUP_TIMEOUT_SECONDS": "60",
            "MLFLOW_APP_ARTIFACTS_DESTINATION": f"gs://{gcs.BUCKET}/artifacts",
            "MLFLOW_APP_WORKERS": "2",
            "MLFLOW_PROXY_TOKENS_FILE": str(self.tokens.file),
            "MLFLOW_PROXY_DRAIN_SECONDS": "1",
            **self.bucket,
            **changes,
        }
        return {name: text for name, text in told.items() if text}

    def by_secret(self, name: str) -> dict[str, str]:
        """Changes: the password from Secret Manager."""
        return {
            "MLFLOW_APP_DATABASE_PASSWORD": "",
            "MLFLOW_APP_DATABASE_PASSWORD_SECRET": f"projects/{PROJECT}/secrets/{name}",
            "MLFLOW_APP_SECRET_MANAGER_URL": self.secrets.url,
            **self.secrets.environ,
        }

    def by_address(self) -> dict[str, str]:
        """Changes: over TCP."""
        return {
            "MLFLOW_APP_DATABASE_SOCKET": "",
            "MLFLOW_APP_DATABASE_ADDRESS": f"127.0.0.1:{self.server.port}",
        }
