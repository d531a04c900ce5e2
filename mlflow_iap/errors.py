"""Exceptions. Each message contains the problem, and the setting or command that fixes it."""


class IapError(Exception):
    """Base class of this package's exceptions."""


class SettingsError(IapError):
    """Settings are invalid or missing; the message has one line for each problem."""


class TokenError(IapError):
    """No token is available.

    `transient`: a retry may succeed. `time_related`: the token has expired, or this machine's clock is wrong.
    """

    def __init__(self, message: str, *, transient: bool = False, time_related: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.time_related = time_related


class RequestTooLargeError(IapError):
    """A request above the limit of the server's front end is not sent; the message names the variable to set."""
