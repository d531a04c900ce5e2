"""Authenticates MLflow's client and `requests` at Google's Identity-Aware Proxy. See README.md."""

from .auth import IapAuth
from .errors import IapError, SettingsError, TokenError
from .settings import Settings

__all__ = ["IapAuth", "IapError", "Settings", "SettingsError", "TokenError"]
