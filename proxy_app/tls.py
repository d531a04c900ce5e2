"""TLS settings of the connections that the proxy makes."""

import ssl
from pathlib import Path

from .setting_table import SettingsError


def create_ssl_context(bundle: Path | None) -> ssl.SSLContext:
    """A context that trusts the authorities in ``bundle`` alone; None: the system's.

    Raises SettingsError if the file cannot be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=str(bundle) if bundle else None)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"AWS_CA_BUNDLE: {bundle} holds no certificates that can be read: {error}.") from error
