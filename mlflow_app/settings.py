"""The settings of MLflow's image: environment variables, defaults and descriptions, in one table.

No other module reads the environment, except libraries: MLflow its own ``MLFLOW_*``, and Google's theirs.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from proxy_app.setting_table import SettingsError, SettingTable, setting, settings_page
from proxy_app.setting_values import Address, on_off
from proxy_app.settings import Settings as ProxySettings
from proxy_app.target import TARGET_FORM, TargetError, sagemaker_target

# MLflow's share of the shutdown timeout: it receives SIGTERM when the proxy has exited.
MLFLOW_SHUTDOWN_SECONDS = 4.0
_PROXY_PREFIX = "MLFLOW_PROXY_"
# How long the proxy accepts requests after SIGTERM. App Engine routes no new ones by then; a few are still in transit.
_DRAIN_SECONDS = 3.0
# https://cloud.google.com/sql/docs/mysql/instance-settings; a project may be that of a domain (example.org:project).
_INSTANCE = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]+:[a-z]+-[a-z]+\d+:[a-z][a-z0-9-]*", re.ASCII)


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


def _seconds(text: str) -> float:
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError("a whole number of seconds above 0")
    return float(text)


def _artifact_access(text: str) -> bool:
    if text not in {"proxied", "direct"}:
        raise ValueError("proxied or direct")
    return text == "proxied"


def _instance(text: str) -> str:
    if text and not _INSTANCE.fullmatch(text):
        raise ValueError("the connection name of a Cloud SQL instance, project:region:instance")
    return text


def _ip_type(text: str) -> str:
    if text not in {"public", "private", "psc"}:
        raise ValueError("public, private or psc")
    return text


def _address(text: str) -> Address | None:
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not (colon and host.strip("[]") and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("host:port, such as 10.1.2.3:3306")
    return Address(host.strip("[]"), int(port))


def _target_arn(text: str) -> str:
    if not text:
        return ""
    try:
        return sagemaker_target(text).arn
    except TargetError as error:
        raise ValueError(TARGET_FORM) from error


_SECRET = re.compile(r"(projects/[a-z0-9.:-]+/secrets/[A-Za-z0-9_-]{1,255})(/versions/(?:latest|[1-9]\d*))?", re.ASCII)


def _secret(text: str) -> str:
    """The resource name of a version: the latest one if the setting names none."""
    found = _SECRET.fullmatch(text)
    if text and not found:
        raise ValueError("projects/PROJECT/secrets/NAME, optionally with /versions/VERSION")
    return found[1] + (found[2] or "/versions/latest") if found else ""


_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[^?#]*)?", re.ASCII)


def _artifacts_destination(text: str) -> str:
    if text and not (_BUCKET.fullmatch(text) or re.fullmatch(r"/[^?#]*", text)):
        raise ValueError("gs://bucket, gs://bucket/folder, or for local use the absolute path of a folder")
    return text.rstrip("/")


_ENDPOINT = re.compile(r"https://[a-z0-9.-]+(:\d{1,5})?|http://(127\.0\.0\.1|localhost):\d{1,5}", re.ASCII)


def _endpoint(text: str) -> str:
    if not _ENDPOINT.fullmatch(text.rstrip("/")):
        raise ValueError("an https:// origin, or on the loopback interface http://127.0.0.1:port")
    return text.rstrip("/")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings(SettingTable):
    """The settings of MLflow's image. Durations are in seconds."""

    prefix = "MLFLOW_APP_"

    # SageMaker
    target_arn: str = setting(
        "MLFLOW_APP_TARGET_ARN",
        "",
        "ARN of a SageMaker MLflow tracking server or serverless app, instead of a database: the proxy signs API "
        "requests for it, and MLflow serves the UI only.",
        _target_arn,
    )

    # The database
    database_instance: str = setting(
        "MLFLOW_APP_DATABASE_INSTANCE",
        "",
        "The Cloud SQL for MySQL instance, project:region:instance. Connections use mutual TLS; the service account "
        "needs roles/cloudsql.client.",
        _instance,
    )
    database_ip_type: str = setting(
        "MLFLOW_APP_DATABASE_IP_TYPE",
        "public",
        "The instance's address to connect to: public, private (in its VPC network) or psc (Private Service Connect).",
        _ip_type,
    )
    database_address: Address | None = setting(
        "MLFLOW_APP_DATABASE_ADDRESS",
        "",
        "host:port of another MySQL server, for local use: the server is not verified.",
        _address,
    )
    database_name: str = setting("MLFLOW_APP_DATABASE_NAME", "mlflow", "The database's name.")
    database_user: str = setting("MLFLOW_APP_DATABASE_USER", "mlflow", "The database's user.")
    database_password: str = setting(
        "MLFLOW_APP_DATABASE_PASSWORD",
        "",
        "The password, for local use: environment variables are readable by others.",
        secret=True,
    )
    database_password_secret: str = setting(
        "MLFLOW_APP_DATABASE_PASSWORD_SECRET",
        "",
        "The password's secret in Secret Manager: projects/PROJECT/secrets/NAME. The latest version is read at the "
        "start, and again when the database rejects the password.",
        _secret,
    )
    database_iam_login: bool = setting(
        "MLFLOW_APP_DATABASE_IAM_LOGIN",
        "off",
        "on: IAM database authentication instead of a password. MLFLOW_APP_DATABASE_USER is the service account's name "
        "without @ and what follows; the account needs roles/cloudsql.instanceUser, too.",
        on_off,
    )
    database_startup_timeout: float = setting(
        "MLFLOW_APP_DATABASE_STARTUP_TIMEOUT_SECONDS",
        "300",
        "How long a start waits until it can log in to the database.",
        _seconds,
    )

    # Its schema
    schema_upgrade: bool = setting(
        "MLFLOW_APP_SCHEMA_UPGRADE",
        "on",
        "on: a start upgrades an older schema; off: it fails, and `python -m mlflow_app upgrade` upgrades the schema.",
        on_off,
    )
    schema_lock_timeout: float = setting(
        "MLFLOW_APP_SCHEMA_LOCK_TIMEOUT_SECONDS",
        "1800",
        "How long a start waits while another instance creates or upgrades the schema.",
        _seconds,
    )

    # Artifacts
    artifacts_destination: str = setting(
        "MLFLOW_APP_ARTIFACTS_DESTINATION",
        "",
        "Where artifacts are stored: gs://bucket or gs://bucket/folder.",
        _artifacts_destination,
    )
    artifacts_proxied: bool = setting(
        "MLFLOW_APP_ARTIFACT_ACCESS",
        "proxied",
        "proxied: clients upload and download artifacts through MLflow; direct: they access the bucket with their own "
        "credentials. An experiment keeps the access with which it was created.",
        _artifact_access,
    )

    # The process
    workers: int = setting(
        "MLFLOW_APP_WORKERS",
        "0",
        "The number of MLflow's worker processes; 0: as many as the memory allows.",
        _whole_number,
    )
    memory_limit_mib: int = setting(
        "MLFLOW_APP_MEMORY_LIMIT_MIB", "0", "The memory limit, in MiB; 0: that of the container.", _whole_number
    )
    shutdown_timeout: float = setting(
        "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS", "25", "All processes exit within this time after SIGTERM.", _seconds
    )
    sql_admin_url: str = setting(
        "MLFLOW_APP_SQL_ADMIN_URL",
        "https://sqladmin.googleapis.com",
        "The origin of the Cloud SQL Admin API; a different one for tests.",
        _endpoint,
    )
    iam_credentials_url: str = setting(
        "MLFLOW_APP_IAM_CREDENTIALS_URL",
        "https://iamcredentials.googleapis.com",
        "The origin of the IAM Service Account Credentials API, which signs the URLs of multipart uploads; a different "
        "one for tests.",
        _endpoint,
    )
    secret_manager_url: str = setting(
        "MLFLOW_APP_SECRET_MANAGER_URL",
        "https://secretmanager.googleapis.com",
        "The origin of Secret Manager; a different one for regional secrets, or for tests.",
        _endpoint,
    )

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """(variables, problem) for each combination that is invalid."""
        if self.target_arn:
            yield from self._target_conflicts()
            return
        target = "MLFLOW_APP_TARGET_ARN"
        server = (target, "MLFLOW_APP_DATABASE_INSTANCE", "MLFLOW_APP_DATABASE_ADDRESS")
        password = (target, "MLFLOW_APP_DATABASE_PASSWORD", "MLFLOW_APP_DATABASE_PASSWORD_SECRET")
        if bool(self.database_instance) == bool(self.database_address):
            yield server, "Set either MLFLOW_APP_DATABASE_INSTANCE or MLFLOW_APP_DATABASE_ADDRESS."
        if self.database_iam_login:
            if self.database_address:
                yield server, "MLFLOW_APP_DATABASE_IAM_LOGIN requires MLFLOW_APP_DATABASE_INSTANCE."
            if self.database_password or self.database_password_secret:
                yield password, "MLFLOW_APP_DATABASE_IAM_LOGIN=on excludes a password: remove the setting of it."
        elif bool(self.database_password) == bool(self.database_password_secret):
            yield password, "Set either MLFLOW_APP_DATABASE_PASSWORD_SECRET or MLFLOW_APP_DATABASE_PASSWORD."
        if not self.artifacts_destination:
            yield (
                (target, "MLFLOW_APP_ARTIFACTS_DESTINATION"),
                "Set MLFLOW_APP_ARTIFACTS_DESTINATION to gs://bucket.",
            )
        elif not self.artifacts_proxied and not self.artifacts_destination.startswith("gs://"):
            yield (), "MLFLOW_APP_ARTIFACT_ACCESS=direct requires a bucket: clients cannot access this folder."
        yield from self._shutdown_conflicts()

    def _target_conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        for name, value in (
            ("MLFLOW_APP_DATABASE_INSTANCE", self.database_instance),
            ("MLFLOW_APP_DATABASE_ADDRESS", self.database_address),
            ("MLFLOW_APP_DATABASE_PASSWORD", self.database_password),
            ("MLFLOW_APP_DATABASE_PASSWORD_SECRET", self.database_password_secret),
            ("MLFLOW_APP_DATABASE_IAM_LOGIN", self.database_iam_login),
            ("MLFLOW_APP_ARTIFACTS_DESTINATION", self.artifacts_destination),
        ):
            if value:
                yield (name,), f"MLFLOW_APP_TARGET_ARN excludes {name}: SageMaker stores runs and artifacts. Remove it."
        yield from self._shutdown_conflicts()

    def _shutdown_conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.shutdown_timeout <= MLFLOW_SHUTDOWN_SECONDS + 1:
            yield (
                (),
                f"MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS must be above {MLFLOW_SHUTDOWN_SECONDS + 1:g}: "
                f"{MLFLOW_SHUTDOWN_SECONDS:g} of them are reserved for MLflow.",
            )

    @classmethod
    def markdown(cls) -> str:
        """The page docs/mlflow-settings.md."""
        return settings_page(
            "Settings of MLflow's image",
            [
                "Environment variables; empty means the default. Generated by `make docs`.",
                "The proxy in the image has its own settings ([settings.md](settings.md)), such as",
                "`MLFLOW_PROXY_IAP_AUDIENCE`. The image itself sets `MLFLOW_PROXY_UPSTREAM_URL`, or with",
                "`MLFLOW_APP_TARGET_ARN` `MLFLOW_PROXY_TARGET_ARN` and `MLFLOW_PROXY_UI_URL`. MLflow reads its own",
                "variables `MLFLOW_*`, such as `MLFLOW_CRYPTO_KEK_PASSPHRASE`.",
            ],
            [cls],
        )


def proxy_environment(environ: Mapping[str, str], settings: Settings, mlflow_port: int) -> dict[str, str]:
    """The proxy's environment: the container's without MLflow's variables, and with MLflow's address."""
    grace = settings.shutdown_timeout - MLFLOW_SHUTDOWN_SECONDS - 1
    inherited = {
        name: text
        for name, text in environ.items()
        if name.startswith(_PROXY_PREFIX) or not name.startswith(("MLFLOW_", "_MLFLOW_"))
    }
    variables = {
        "MLFLOW_PROXY_GRACE_SECONDS": f"{grace:g}",
        "MLFLOW_PROXY_DRAIN_SECONDS": f"{min(_DRAIN_SECONDS, grace):g}",
        **{name: text for name, text in inherited.items() if text.strip()},
    }
    mlflow = f"http://127.0.0.1:{mlflow_port}"
    if settings.target_arn:
        return {**variables, "MLFLOW_PROXY_TARGET_ARN": settings.target_arn, "MLFLOW_PROXY_UI_URL": mlflow}
    return {**variables, "MLFLOW_PROXY_UPSTREAM_URL": mlflow}


def mlflow_environment(environ: Mapping[str, str], settings: Settings, proxy: ProxySettings) -> dict[str, str]:
    """MLflow's environment: the container's without the proxy's variables.

    With ``settings.target_arn`` with those of AWS's plugin sagemaker-mlflow, boto3 and requests, which have other names
    for the proxy's settings.
    """
    inherited = {name: text for name, text in environ.items() if not name.startswith(_PROXY_PREFIX)}
    if not settings.target_arn:
        return inherited
    variables = {
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": proxy.target_endpoint,
        "SAGEMAKER_MLFLOW_ASSUME_ROLE_ARN": proxy.assume_role_arn,
        "REQUESTS_CA_BUNDLE": str(proxy.ca_bundle or ""),
        "AWS_DEFAULT_REGION": sagemaker_target(settings.target_arn).region,
    }
    return {**{name: text for name, text in variables.items() if text}, **inherited}


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, ProxySettings]:
    """The image's settings and the proxy's. Raises SettingsError with the invalid ones of both."""
    problems: list[str] = []
    settings, proxy = None, None
    # With this one, the proxy has other settings.
    fallback = Settings(target_arn=environ.get("MLFLOW_APP_TARGET_ARN", "").strip())
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        problems.append(str(error))
    try:
        proxy = ProxySettings.from_env(proxy_environment(environ, settings or fallback, 1))
    except SettingsError as error:
        problems.append(str(error))
    problems += [
        f"{name} must not be set: the image sets it. MLFLOW_APP_TARGET_ARN selects SageMaker, and otherwise the proxy "
        "forwards to the MLflow in this image."
        for name in ("MLFLOW_PROXY_UPSTREAM_URL", "MLFLOW_PROXY_TARGET_ARN", "MLFLOW_PROXY_UI_URL")
        if environ.get(name, "").strip()
    ]
    if settings and proxy and proxy.grace > settings.shutdown_timeout - MLFLOW_SHUTDOWN_SECONDS - 1:
        problems.append(
            f"MLFLOW_PROXY_GRACE_SECONDS must be at most {settings.shutdown_timeout - MLFLOW_SHUTDOWN_SECONDS - 1:g}: "
            "MLflow exits after the proxy, and both within MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS "
            f"({settings.shutdown_timeout:g})."
        )
    if problems or settings is None or proxy is None:
        raise SettingsError("\n".join(problems))
    return settings, proxy
