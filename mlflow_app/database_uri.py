"""Where the database is, as SQLAlchemy takes it. The password is no part of it: ``connect`` adds it."""

from urllib.parse import quote, urlencode

from .settings import Settings


def database_uri(settings: Settings) -> str:
    """mysql+pymysql://..., with every part escaped."""
    user, name = quote(settings.database_user, safe=""), quote(settings.database_name, safe="")
    address = settings.database_address
    place = str(address) if address else ""
    query = {"charset": "utf8mb4"}
    if settings.database_socket:
        query["unix_socket"] = settings.database_socket
    return f"mysql+pymysql://{user}@{place}/{name}?{urlencode(query, quote_via=quote, safe='')}"
