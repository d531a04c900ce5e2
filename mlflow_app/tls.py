"""Whose certificate of a database server is believed."""

import ssl


def trusting(authorities: str) -> ssl.SSLContext:
    """A context that takes certificates by these authorities (PEM text) alone. Raises ValueError.

    The name in the certificate is not compared: Cloud SQL's are by an authority for one instance alone, and name that
    instance, not an address. https://cloud.google.com/sql/docs/mysql/configure-ssl-instance
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=authorities)
    except ssl.SSLError:
        raise ValueError("certificates as PEM text, -----BEGIN CERTIFICATE----- and so on") from None
    return context
