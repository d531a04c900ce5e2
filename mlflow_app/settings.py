"""Every setting of MLflow's image: its environment variable, its default and a sentence, in one table.

Below this module nothing reads the environment, except the libraries: MLflow its own ``MLFLOW_*`` and Google's theirs.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from proxy_app.setting_table import SettingsError, SettingTable, setting
from proxy_app.setting_values import Address, switch
from proxy_app.settings import Settings as ProxySettings

from . import tls

# What MLflow gets of the time between SIGTERM and the end: it is told when the proxy has ended.
MLFLOW_STOP = 4.0
_PROXY_PREFIX = "MLFLOW_PROXY_"
# How long the proxy takes new requests after SIGTERM: App Engine sends none by then, so only stragglers.
_DRAIN = 3.0
_LONGEST_SOCKET = 107


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


def _seconds(text: str) -> float:
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError("a whole number of seconds above 0")
    return float(text)


def _access(text: str) -> bool:
    if text not in {"proxied", "direct"}:
        raise ValueError("proxied or direct")
    return text == "proxied"


def _socket(text: str) -> str:
    if text and not (text.startswith("/") and len(text.encode()) <= _LONGEST_SOCKET):
        raise ValueError(f"a whole path of {_LONGEST_SOCKET} bytes at most, as /cloudsql/project:region:instance")
    return text


def _address(text: str) -> Address | None:
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not (colon and host.strip("[]") and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("host:port, as 10.1.2.3:3306")
    return Address(host.strip("[]"), int(port))


_SECRET = re.compile(r"(projects/[a-z0-9.:-]+/secrets/[A-Za-z0-9_-]{1,255})(/versions/(?:latest|[1-9]\d*))?", re.ASCII)


def _secret(text: str) -> str:
    """The secret's version: the latest one if none is named."""
    found = _SECRET.fullmatch(text)
    if text and not found:
        raise ValueError("projects/PROJECT/secrets/NAME, or that with /versions/VERSION")
    return found[1] + (found[2] or "/versions/latest") if found else ""


_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[^?#]*)?", re.ASCII)


def _artifacts(text: str) -> str:
    if text and not (_BUCKET.fullmatch(text) or re.fullmatch(r"/[^?#]*", text)):
        raise ValueError("gs://bucket, gs://bucket/folder, or for local use the whole path of a folder")
    return text.rstrip("/")


_ENDPOINT = re.compile(r"https://[a-z0-9.-]+(:\d{1,5})?|http://(127\.0\.0\.1|localhost):\d{1,5}", re.ASCII)


def _endpoint(text: str) -> str:
    if not _ENDPOINT.fullmatch(text.rstrip("/")):
        raise ValueError("an https:// origin, or on this machine http://127.0.0.1:port")
    return text.rstrip("/")


def _certificate(text: str) -> str:
    # Not everything that hands variables on takes several lines.
    plain = text.replace("\\n", "\n")
    if plain:
        tls.trusting(plain)
    return plain


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings(SettingTable):
    """What the image is told. Times are seconds."""

    prefix = "MLFLOW_APP_"

    # The database
    database_socket: str = setting(
        "MLFLOW_APP_DATABASE_SOCKET",
        "",
        "The Unix socket of the MySQL database; Cloud SQL's is /cloudsql/project:region:instance.",
        _socket,
    )
    database_address: Address | None = setting(
        "MLFLOW_APP_DATABASE_ADDRESS", "", "The database's host:port, instead of a socket.", _address
    )
    database_ca: str = setting(
        "MLFLOW_APP_DATABASE_CA_PEM",
        "",
        "Certificates of authorities, as PEM text, in which \\n may stand for the end of a line: the certificate of "
        "the server at the address has to be by one of them. Empty: a connection is encrypted if the server offers it, "
        "whoever that is.",
        _certificate,
    )
    database_name: str = setting("MLFLOW_APP_DATABASE_NAME", "mlflow", "The database's name.")
    database_user: str = setting("MLFLOW_APP_DATABASE_USER", "mlflow", "Who logs in.")
    database_password: str = setting(
        "MLFLOW_APP_DATABASE_PASSWORD", "", "The password, for local use: others can read an environment.", secret=True
    )
    database_password_secret: str = setting(
        "MLFLOW_APP_DATABASE_PASSWORD_SECRET",
        "",
        "The Secret Manager secret that holds the password: projects/PROJECT/secrets/NAME. Its latest version is read "
        "at the start, and again when the database refuses what was read.",
        _secret,
    )
    database_wait: float = setting(
        "MLFLOW_APP_DATABASE_STARTUP_TIMEOUT_SECONDS",
        "300",
        "How long a start waits for the database to let it in.",
        _seconds,
    )

    # Its schema
    schema_upgrade: bool = setting(
        "MLFLOW_APP_SCHEMA_UPGRADE",
        "on",
        "off: an older schema is refused at the start, and upgraded by `python -m mlflow_app upgrade`.",
        switch,
    )
    schema_wait: float = setting(
        "MLFLOW_APP_SCHEMA_LOCK_TIMEOUT_SECONDS",
        "1800",
        "How long a start waits for another instance that is upgrading the schema.",
        _seconds,
    )

    # Artifacts
    artifacts: str = setting(
        "MLFLOW_APP_ARTIFACTS_DESTINATION",
        "",
        "Where artifacts are kept: gs://bucket or gs://bucket/folder.",
        _artifacts,
    )
    artifacts_proxied: bool = setting(
        "MLFLOW_APP_ARTIFACT_ACCESS",
        "proxied",
        "proxied: clients send and get artifacts through MLflow; direct: they go to the bucket with credentials of "
        "their own. Each experiment keeps what was said when it was made.",
        _access,
    )

    # The process
    workers: int = setting(
        "MLFLOW_APP_WORKERS", "0", "How many processes serve MLflow; 0: as many as the memory bears.", _whole
    )
    memory: int = setting(
        "MLFLOW_APP_MEMORY_LIMIT_MIB", "0", "The memory that there is, in MiB; 0: what the container may take.", _whole
    )
    stop: float = setting(
        "MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS", "25", "Everything has ended within this time after SIGTERM.", _seconds
    )
    secret_manager: str = setting(
        "MLFLOW_APP_SECRET_MANAGER_URL",
        "https://secretmanager.googleapis.com",
        "Secret Manager's origin; another one for a regional secret, or for tests.",
        _endpoint,
    )

    def contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        place = ("MLFLOW_APP_DATABASE_SOCKET", "MLFLOW_APP_DATABASE_ADDRESS")
        password = ("MLFLOW_APP_DATABASE_PASSWORD", "MLFLOW_APP_DATABASE_PASSWORD_SECRET")
        if bool(self.database_socket) == bool(self.database_address):
            yield place, "Set one of MLFLOW_APP_DATABASE_SOCKET and MLFLOW_APP_DATABASE_ADDRESS."
        if self.database_ca and self.database_socket:
            yield place, "MLFLOW_APP_DATABASE_CA_PEM goes with MLFLOW_APP_DATABASE_ADDRESS only."
        if bool(self.database_password) == bool(self.database_password_secret):
            yield password, "Set one of MLFLOW_APP_DATABASE_PASSWORD_SECRET and MLFLOW_APP_DATABASE_PASSWORD."
        if not self.artifacts:
            yield (
                ("MLFLOW_APP_ARTIFACTS_DESTINATION",),
                "Set MLFLOW_APP_ARTIFACTS_DESTINATION to gs://bucket, for the artifacts.",
            )
        elif not self.artifacts_proxied and not self.artifacts.startswith("gs://"):
            yield (), "MLFLOW_APP_ARTIFACT_ACCESS=direct takes a bucket: clients do not see this folder."
        if self.stop <= MLFLOW_STOP + 1:
            yield (
                (),
                f"MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS must be above {MLFLOW_STOP + 1:g}: MLflow takes {MLFLOW_STOP:g} "
                "of it.",
            )

    @classmethod
    def markdown(cls) -> str:
        """docs/mlflow-settings.md."""
        return cls.page(
            "The settings of MLflow's image",
            "Environment variables; empty means the default. Written by `make docs` from `mlflow_app/settings.py`.",
            "The proxy in the image takes its own, [settings.md](settings.md): `MLFLOW_PROXY_IAP_AUDIENCE` and so "
            "on, but",
            "not `MLFLOW_PROXY_UPSTREAM_URL`. MLflow takes its own `MLFLOW_*`, such as `MLFLOW_CRYPTO_KEK_PASSPHRASE`.",
        )


def proxy_environment(environ: Mapping[str, str], settings: Settings, mlflow_port: int) -> dict[str, str]:
    """What the proxy gets of the container's environment: all but MLflow's, and where MLflow is."""
    grace = settings.stop - MLFLOW_STOP - 1
    kept = {
        name: text
        for name, text in environ.items()
        if name.startswith(_PROXY_PREFIX) or not name.startswith(("MLFLOW_", "_MLFLOW_"))
    }
    given = {
        "MLFLOW_PROXY_GRACE_SECONDS": f"{grace:g}",
        "MLFLOW_PROXY_DRAIN_SECONDS": f"{min(_DRAIN, grace):g}",
        **{name: text for name, text in kept.items() if text.strip()},
    }
    return {**given, "MLFLOW_PROXY_UPSTREAM_URL": f"http://127.0.0.1:{mlflow_port}"}


def read(environ: Mapping[str, str]) -> tuple[Settings, ProxySettings]:
    """The image's settings and the proxy's; SettingsError names every wrong one of both."""
    problems: list[str] = []
    settings, proxy = None, None
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        problems.append(str(error))
    try:
        proxy = ProxySettings.from_env(proxy_environment(environ, settings or Settings(), 1))
    except SettingsError as error:
        problems.append(str(error))
    problems += [
        f"{name} is not for this image: its proxy stands in front of its own MLflow."
        for name in ("MLFLOW_PROXY_UPSTREAM_URL", "MLFLOW_PROXY_TARGET_ARN")
        if environ.get(name, "").strip()
    ]
    if settings and proxy and proxy.grace > settings.stop - MLFLOW_STOP - 1:
        problems.append(
            f"MLFLOW_PROXY_GRACE_SECONDS may be {settings.stop - MLFLOW_STOP - 1:g} at most: MLflow ends after the "
            f"proxy, "
            f"and both within MLFLOW_APP_SHUTDOWN_TIMEOUT_SECONDS ({settings.stop:g})."
        )
    if problems or settings is None or proxy is None:
        raise SettingsError("\n".join(problems))
    return settings, proxy
