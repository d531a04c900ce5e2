"""Fair use: the limits of each principal, the same on both clouds."""

from pydantic import Field

from . import proxy_environment
from .validation import ValidatedArgs


class LimitSettings(ValidatedArgs):
    """Limits of each token or user, in each task or instance: further requests wait, then get 429 with Retry-After."""

    requests_per_second: int = Field(default=100, ge=1, le=100000)
    """Requests per second of one principal, with bursts of two seconds' worth."""
    max_requests: int = Field(default=64, ge=1, le=512)
    """Requests of one principal at the same time; as many more wait."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the proxy."""
        return {
            proxy_environment.PRINCIPAL_REQUESTS_PER_SECOND: str(self.requests_per_second),
            proxy_environment.PRINCIPAL_MAX_REQUESTS: str(self.max_requests),
        }
