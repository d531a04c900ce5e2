"""Presigned transfers."""

from .s3 import S3
from .uploads import Uploads


class Presigned:
    """Placeholder."""

    def __init__(self, s3: S3, uploads: Uploads, *, enabled: bool) -> None:
        self._s3 = s3
        self._uploads = uploads
        self._enabled = enabled
