"""Exceptions of the steps, and descriptions of connection errors with a remedy."""

import errno
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError, ResponseError

MAX_CHARACTERS = 300


class StepSkipped(Exception):
    """The step cannot run in this environment; the deployment may be correct."""


class StepNotRun(Exception):
    """The step requires an object that an earlier step failed to create."""


class StepFailed(Exception):
    """The step failed; the remaining steps still run."""


class VerificationAborted(StepFailed):
    """The step failed for a reason that affects all steps; the remaining ones do not run."""


def sanitize(text: str) -> str:
    """A server's text, safe for a terminal: one line, without control characters, at most 300 characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= MAX_CHARACTERS else words[: MAX_CHARACTERS - 3] + "..."


def retried_status(error: BaseException) -> int | None:
    """The status of a response that MLflow's client treats as retriable (429, 500, ...), and whose body it drops."""
    for link in _chain(error):
        if isinstance(link, ResponseError) and (status := re.search(r"too many (\d{3}) error", str(link))):
            return int(status[1])
    return None


def describe_connection_error(error: BaseException, url: str) -> str | None:
    """Why there was no response from `url`; None for other errors. MLflow keeps the cause in the context."""
    chain = list(_chain(error))
    # A response with the status of an error was received.
    if any(isinstance(link, requests.exceptions.RetryError | requests.exceptions.HTTPError) for link in chain):
        return None
    host = urlsplit(url).netloc
    text = " ".join(str(link) for link in chain)
    if any(isinstance(link, requests.exceptions.ProxyError) for link in chain):
        return (
            f"The HTTP proxy in HTTP_PROXY or HTTPS_PROXY did not forward the request to {host}. "
            f"To bypass it, add {host} to NO_PROXY."
        )
    if any(isinstance(link, requests.exceptions.SSLError) for link in chain):
        if "WRONG_VERSION_NUMBER" in text or "record layer" in text.lower():
            return f"{host} does not use TLS on this port. Check the port, or use http://."
        return (
            f"The TLS certificate of {host} is not trusted: {_tls_reason(text)}. "
            "For a private CA, set REQUESTS_CA_BUNDLE or SSL_CERT_FILE to its PEM file."
        )
    if any(isinstance(link, requests.exceptions.Timeout) for link in chain):
        return (
            f"No response from {host} before the timeout. Check the network path (VPN, security group). A serverless "
            "app that was idle, or a server that is starting, may need longer: python -m verify --timeout 180"
        )
    if any(isinstance(link, NameResolutionError) for link in chain):
        return f"Cannot resolve {urlsplit(url).hostname}. Check the spelling and the DNS record."
    if any(isinstance(link, ConnectionRefusedError) for link in chain) or f"[Errno {errno.ECONNREFUSED}]" in text:
        return f"Connection refused by {host}. Check that the deployment is running, and the port."
    if any(isinstance(link, requests.exceptions.RequestException) for link in chain):
        return f"The connection to {host} was closed before the response: {sanitize(str(chain[-1]))}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error with its causes, contexts, and the exceptions that requests and urllib3 keep as arguments."""
    pending, visited = [error], set[int]()
    while pending:
        link = pending.pop(0)
        if id(link) in visited:
            continue
        visited.add(id(link))
        yield link
        linked = (link.__cause__, link.__context__, getattr(link, "reason", None), *link.args)
        pending += [other for other in linked if isinstance(other, BaseException)]


def _tls_reason(text: str) -> str:
    """OpenSSL's reason, without its source location."""
    _, found, rest = text.partition("certificate verify failed: ")
    return sanitize(rest.partition(" (_ssl")[0]) if found else "the TLS handshake failed"
