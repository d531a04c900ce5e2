"""The services that the image uses in tests, and the image's settings for them."""

import dataclasses

from tests.doubles import gcs
from tests.doubles.mysql import Database, MySql
from tests.doubles.running_proxy import Tokens
from tests.doubles.secret_manager import PROJECT, SecretManager


@dataclasses.dataclass(frozen=True, slots=True)
class Backends:
    """A database server, a bucket, a Secret Manager and the proxy's tokens."""

    server: MySql
    bucket: dict[str, str]
    secrets: SecretManager
    tokens: Tokens

    def settings(self, database: Database, **changes: str) -> dict[str, str]:
        """Settings with a socket, a static password, proxied artifacts, and `changes`; empty ones are left out."""
        settings = {
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
        return {name: text for name, text in settings.items() if text}

    def password_from_secret(self, name: str) -> dict[str, str]:
        """Changes for `settings`: the password from Secret Manager."""
        return {
            "MLFLOW_APP_DATABASE_PASSWORD": "",
            "MLFLOW_APP_DATABASE_PASSWORD_SECRET": f"projects/{PROJECT}/secrets/{name}",
            "MLFLOW_APP_SECRET_MANAGER_URL": self.secrets.url,
            **self.secrets.environ,
        }

    def over_tcp(self) -> dict[str, str]:
        """Changes for `settings`: TCP instead of the socket."""
        return {
            "MLFLOW_APP_DATABASE_SOCKET": "",
            "MLFLOW_APP_DATABASE_ADDRESS": f"127.0.0.1:{self.server.port}",
        }
