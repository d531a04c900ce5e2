"""What of Google Cloud is drawn, and as what."""

from ..cloud import Drawn
from ..graph import Resource
from .kinds import ALERT, APPLICATION, BUCKET, DATABASE, FLEXIBLE, LOG_BUCKET, REPOSITORY, SECRET


def _database(one: Resource) -> str:
    version = str(one.inputs.get("databaseVersion")).removeprefix("MYSQL_")
    return f"Cloud SQL: MySQL {version.replace('_', '.')}"


DRAWN = {
    APPLICATION: Drawn("Identity-Aware Proxy"),
    FLEXIBLE: Drawn("the proxy and MLflow: App Engine"),
    DATABASE: Drawn("database", store=True, said=_database),
    BUCKET: Drawn("bucket", store=True, named=True),
    SECRET: Drawn("secret", store=True, named=True),
    REPOSITORY: Drawn("image in Artifact Registry", store=True),
    LOG_BUCKET: Drawn("log bucket", store=True),
    ALERT: Drawn("alert", together=True),
}
