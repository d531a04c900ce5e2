"""The request auth provider of MLflow's plugin interface; MLflow finds it by the entry point in pyproject.toml.

It has the methods of `mlflow.tracking.request_auth.abstract_request_auth_provider.RequestAuthProvider`, the same in
MLflow 2 and 3, without the base class: MLflow is not imported.
"""

import contextlib
import os

from . import uploads
from .auth import IapAuth
from .errors import SettingsError

# MLflow creates its providers once per process; all of its clients share this object and its token.
_auth = IapAuth()


class AuthProvider:
    """Selected by `MLFLOW_TRACKING_AUTH=iap`."""

    def get_name(self) -> str:
        """The value of MLFLOW_TRACKING_AUTH that selects this provider."""
        return "iap"

    def get_auth(self) -> IapAuth:
        """The `requests` auth object that MLflow applies to each of its requests.

        Also sets MLflow's variables for uploads in parts. MLflow calls this before each request, and reads a run before
        it uploads one of its files. Child processes inherit the variables.
        """
        # The request raises an invalid setting.
        with contextlib.suppress(SettingsError):
            uploads.upload_in_parts(os.environ, _auth.settings.max_request_bytes)
        return _auth
