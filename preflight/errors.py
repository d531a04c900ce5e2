"""Why a check could not be done."""


class Unchecked(Exception):
    """A check could not be done. ``permission`` is the one that is missing; empty for other reasons."""

    def __init__(self, reason: str, permission: str = "") -> None:
        """``reason`` is a sentence without a period."""
        super().__init__(reason)
        self.permission = permission
