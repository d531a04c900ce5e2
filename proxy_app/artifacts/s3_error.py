"""Errors of S3, ``<Error><Code>...``, translated into MLflow's form."""

import contextlib
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from .. import errors

# The credentials are no longer valid, as opposed to not authorized.
_STALE = frozenset({"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"})
_CODES_OF_STATUS = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 416: "InvalidRange"}
_OTHER_REGION = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"})


@dataclass(frozen=True, slots=True)
class S3Error:
    """An error of S3: HTTP status, code such as NoSuchKey, and message.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """

    status: int
    code: str
    message: str

    @classmethod
    def parse(cls, status: int, body: bytes) -> "S3Error":
        """The error in ``body``; responses to HEAD have none, so their status decides."""
        code, message = "", ""
        with contextlib.suppress(ET.ParseError):
            root = parse_xml(body)
            code, message = text(root, "Code"), text(root, "Message")
        code = code or _CODES_OF_STATUS.get(status, "")
        return cls(status, code, message or code or f"status {status}")

    @property
    def stale(self) -> bool:
        """Whether S3 rejected the credentials as expired or unknown."""
        return self.code in _STALE

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed shortly: S3 is busy, or failed."""
        return self.status >= 500 or self.code in {"RequestTimeout", "OperationAborted"}

    def api_error(self, bucket: str, action: str) -> errors.ApiError:
        """The error for the client; ``action`` is the IAM action that the request needs."""
        reason = "s3-error"
        if self.stale:
            return errors.unavailable(
                f"S3 rejects the proxy's credentials: {self.message}", reason="aws-credentials-rejected"
            )
        if self.temporary:
            return errors.unavailable(f"S3 cannot serve the request now: {self.message}", reason=reason)
        if self.code in _OTHER_REGION:
            message = (
                f"The bucket {bucket} (MLFLOW_PROXY_ARTIFACTS_URI) is not in the region of the target: {self.message}"
            )
            return errors.ApiError(501, "NOT_IMPLEMENTED", message, reason=reason)
        if self.status == 403:
            message = (
                f"The proxy's AWS role is not allowed {action} on the bucket {bucket}; your token is valid. S3: "
                f"{self.message}"
            )
            return errors.forbidden(message, reason=reason)
        if self.status == 404:
            message = f"S3: {self.message}" + (f" ({bucket})" if self.code == "NoSuchBucket" else "")
            return errors.ApiError(404, "RESOURCE_DOES_NOT_EXIST", message, reason=reason)
        if self.status in {400, 411, 412, 416}:
            return errors.ApiError(self.status, "INVALID_PARAMETER_VALUE", f"S3: {self.message}", reason=reason)
        return errors.ApiError(409, "ABORTED", f"S3: {self.message}", reason=reason)


def parse_xml(body: bytes) -> ET.Element:
    """The root of an answer of S3, without namespaces. Raises ElementTree.ParseError."""
    root = ET.fromstring(body)  # noqa: S314 - from S3; expat limits the expansion of entities
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def text(element: ET.Element, name: str) -> str:
    """The text of the child ``name``; empty if there is none."""
    return element.findtext(name) or ""
