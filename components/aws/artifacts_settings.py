"""Settings of artifacts through the proxy."""

import re
from collections.abc import Iterator

from ..validation import Text, ValidatedArgs

# A bucket's name, and keys as in tracking.artifactPrefix.
ARTIFACTS_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([\w.-]+(?:/[\w.-]+)*)", re.ASCII)


class ArtifactsSettings(ValidatedArgs):
    """Artifacts through the proxy."""

    enabled: bool = True
    """Serve artifacts through the proxy: clients need no AWS credentials. For an existing target, set `uri`, too."""
    uri: Text | None = None
    """Where an existing target (`tracking.targetArn`) stores its artifacts, s3://bucket/prefix. Policy and key of the
    bucket must allow the proxy's role, or with `tracking.assumeRoleArn` that role."""
    presigned_transfers: bool = False
    """Clients reach S3 themselves: they transfer large files by presigned URLs, without the load balancer and the
    proxy."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for an invalid location, and for settings that apply to enabled artifacts only."""
        if self.uri is not None and not ARTIFACTS_URI.fullmatch(self.uri):
            yield (
                "uri",
                f"got {self.uri!r}, expected s3://bucket/prefix: a prefix of letters, digits and . _ - with single / "
                "between them.",
            )
        for name in ("uri", "presigned_transfers"):
            if not self.enabled and getattr(self, name):
                yield name, "applies to artifacts through the proxy only: set enabled to true, or remove it."
