"""What can go wrong with a step, and how to say it to somebody who has to mend it."""

import errno
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError, ResponseError

LONGEST = 300


class Skipped(Exception):
    """The step cannot be tried from here, which says nothing about the deployment."""


class NotTried(Exception):
    """The step needs something that an earlier, failed step should have made."""


class Failed(Exception):
    """The step failed; the others are still worth trying."""


class Stop(Failed):
    """The step failed in a way that every other one would."""


def plain(text: str) -> str:
    """A server's text made safe for a terminal: one line, no control characters, not too long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= LONGEST else words[: LONGEST - 3] + "..."


def unkept_status(error: BaseException) -> int | None:
    """The status of an answer that MLflow's client would have asked for again (429, 500, ...) and so did not keep."""
    for link in _chain(error):
        if isinstance(link, ResponseError) and (status := re.search(r"too many (\d{3}) error", str(link))):
            return int(status[1])
    return None


def explain(error: BaseException, url: str) -> str | None:
    """Why no answer came from url, or None when the error is of another kind. MLflow hides the cause in the context."""
    chain = list(_chain(error))
    if any(isinstance(link, requests.exceptions.RetryError) for link in chain):
        return None
    host = urlsplit(url).netloc
    text = " ".join(str(link) for link in chain)
    if any(isinstance(link, requests.exceptions.ProxyError) for link in chain):
        return (
            f"The proxy that HTTP_PROXY or HTTPS_PROXY names did not pass the request on to {host}. "
            f"If {host} is reached without it, add it to NO_PROXY."
        )
    if any(isinstance(link, requests.exceptions.SSLError) for link in chain):
        if "WRONG_VERSION_NUMBER" in text or "record layer" in text.lower():
            return f"{host} does not speak TLS on this port: is http:// meant, or another port?"
        return (
            f"The TLS certificate of {host} is not trusted here: {_tls_reason(text)}. "
            "For a private authority, name its PEM file in REQUESTS_CA_BUNDLE or SSL_CERT_FILE."
        )
    if any(isinstance(link, requests.exceptions.Timeout) for link in chain):
        return (
            f"No answer from {host} in time. Is it reachable from here (VPN, security group)? A serverless app that "
            "slept, or a server that just started, may need longer: python -m verify --timeout 180"
        )
    if any(isinstance(link, NameResolutionError) for link in chain):
        return f"The name {urlsplit(url).hostname} is not known here: is it spelt right, and does its DNS record exist?"
    if any(isinstance(link, ConnectionRefusedError) for link in chain) or f"[Errno {errno.ECONNREFUSED}]" in text:
        return f"Nothing listens at {host}: is the deployment running, and is the port right?"
    if any(isinstance(link, requests.exceptions.RequestException) for link in chain):
        return f"The connection to {host} broke before an answer had come: {plain(str(chain[-1]))}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and everything behind it: causes, contexts, and what requests and urllib3 keep in their arguments."""
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        behind = (link.__cause__, link.__context__, getattr(link, "reason", None), *link.args)
        waiting += [other for other in behind if isinstance(other, BaseException)]


def _tls_reason(text: str) -> str:
    """OpenSSL's own words, without the lines of code around them."""
    _, found, rest = text.partition("certificate verify failed: ")
    return plain(rest.partition(" (_ssl")[0]) if found else "the TLS handshake failed"
