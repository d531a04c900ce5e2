"""What can go wrong. Each message names what is missing and what to set."""


class IapError(Exception):
    """Any error of this package."""


class SettingsError(IapError):
    """One or more settings are wrong or missing; the message has a line for each."""


class TokenError(IapError):
    """A token could not be had; `transient` if another try may help, `late` if the token or the clock is to blame."""

    def __init__(self, message: str, *, transient: bool = False, late: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.late = late
