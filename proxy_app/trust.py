"""Which authorities' certificates are believed when the proxy connects to others."""

import ssl
from pathlib import Path

from .setting_table import SettingsError


def trusting(bundle: Path | None) -> ssl.SSLContext:
    """The system's authorities, or those of the bundle alone. Raises SettingsError."""
    try:
        return ssl.create_default_context(cafile=str(bundle) if bundle else None)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"AWS_CA_BUNDLE: {bundle} holds no certificates that can be read: {error}.") from error
