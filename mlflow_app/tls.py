"""TLS to the database server."""

import ssl


def create_ssl_context(ca_pem: str) -> ssl.SSLContext:
    """A client context that trusts these CA certificates (PEM text) only. Raises ValueError.

    Host names are not compared: each Cloud SQL instance has a CA of its own, and its certificate has the instance's
    name, not its address. https://cloud.google.com/sql/docs/mysql/configure-ssl-instance
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=ca_pem)
    except ssl.SSLError:
        raise ValueError("certificates as PEM text, -----BEGIN CERTIFICATE----- and so on") from None
    return context
