"""Authenticates MLflow's client and `requests` at Google's Identity-Aware Proxy. See README.md."""

from .auth import IapAuth
from .errors import IapError, RequestTooLargeError, SettingsError, TokenError
from .settings import Settings

__all__ = ["IapAuth", "IapError", "RequestTooLargeError", "Settings", "SettingsError", "TokenError"]
