"""MLflow's two interfaces for plugins; MLflow finds them by the entry points in pyproject.toml.

They only have to look like `mlflow.tracking.request_auth.abstract_request_auth_provider.RequestAuthProvider` and
`mlflow.tracking.request_header.abstract_request_header_provider.RequestHeaderProvider`, the same in MLflow 2 and 3, so
MLflow is not imported.
"""

import os
import sys

from .auth import IapAuth
from .errors import SettingsError

NAME = "iap"
# MLflow makes its providers once in a process; they share a token.
_auth = IapAuth()


class AuthProvider:
    """`MLFLOW_TRACKING_AUTH=iap`. MLflow hands each request to it, so it sees where the token goes."""

    def get_name(self) -> str:
        return NAME

    def get_auth(self) -> IapAuth:
        return _auth


class HeaderProvider:
    """`MLFLOW_IAP_HEADER_PROVIDER=on`, for when MLFLOW_TRACKING_AUTH is taken by another plugin.

    It is off unless asked for: MLflow asks for headers before it says where they go, turns errors into warnings, and
    puts its own Authorization over a plugin's.
    """

    def in_context(self) -> bool:
        # The variable first: without it nothing is read, and nothing can be wrong, in a process that has no IAP.
        asked = "MLFLOW_IAP_HEADER_PROVIDER" in os.environ and os.environ.get("MLFLOW_TRACKING_AUTH") != NAME
        return asked and _auth.settings.header_provider

    def request_headers(self) -> dict[str, str]:
        """Raises SettingsError or TokenError, which MLflow logs as a warning."""
        if not _auth.allowed(_url_of_the_request()):
            return {}
        return {_auth.settings.header or "Proxy-Authorization": f"Bearer {_auth.token().text}"}


def _url_of_the_request() -> str:
    """Where MLflow's `http_request` is about to send the headers.

    The interface does not say it. MLflow sends every provider's headers wherever a file, a model registry or a
    redirect of artifacts is, so a token must not be handed out blindly; a MLflow that does it in another way gets none.
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame := frame.f_back:
        if frame.f_code.co_name == "http_request" and frame.f_globals.get("__name__") == "mlflow.utils.rest_utils":
            return str(frame.f_locals.get("url", ""))
    raise SettingsError(
        "This version of MLflow does not let MLFLOW_IAP_HEADER_PROVIDER see where a request goes, so it gets no token: "
        "set MLFLOW_TRACKING_AUTH=iap instead."
    )
