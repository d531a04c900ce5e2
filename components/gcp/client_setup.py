"""The outputs with which clients are set up: the audience of their tokens and shell commands."""

import pulumi

from .app_engine import AppEngine
from .iap_access import IapAccess
from .service import Service

# Half of the limit in mlflow_iap, which sets the same variables; clients without it need the lines.
_MULTIPART_MINIMUM_BYTES = 16_000_000


def token_audience(app: AppEngine, service: Service) -> pulumi.Output[str]:
    """The audience of clients' tokens: the OAuth client ID or, where that is unknown, https://HOST/*."""
    return pulumi.Output.all(app.client_id, service.host).apply(lambda known: known[0] or f"https://{known[1]}/*")


def client_setup(service: Service, audience: pulumi.Output[str], iap_access: IapAccess) -> pulumi.Output[str]:
    """Shell commands that install and configure the client package.

    They contain no token: mlflow_iap fetches tokens and refreshes them.
    """
    return pulumi.Output.all(service.url, audience, iap_access.client_service_account).apply(_commands)


def _commands(values: list[str | None]) -> str:
    url, audience, service_account = values
    lines = [
        "pip install ./mlflow_iap    # a folder of the repository that deployed this stack",
        f"export MLFLOW_TRACKING_URI={url}",
        "export MLFLOW_TRACKING_AUTH=iap",
        # Quoted because of the asterisk.
        f"export MLFLOW_IAP_AUDIENCE='{audience}'",
    ]
    lines += [
        "# App Engine refuses requests above 32 MB: files from 16 MB on go to Cloud Storage in parts",
        "export MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true",
        f"export MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE={_MULTIPART_MINIMUM_BYTES}",
    ]
    if service_account:
        lines.append(f"export MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT={service_account}")
    return "\n".join([*lines, 'python -m mlflow_iap check "$MLFLOW_TRACKING_URI"'])
