"""Presigned URLs, with which clients transfer files to and from S3 themselves, where a setting says that they can."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from .. import errors
from ..context import RequestContext
from ..errors import ApiError
from ..presigned_expiry import MAX_SECONDS
from .objects import reading_error
from .paths import artifact_path, content_disposition, content_type
from .s3 import S3, S3Request
from .uploads import PARTS, Uploads

SECONDS = MAX_SECONDS
"""How long a URL is valid at most: MLflow's own default for uploads. A revoked token's URLs end with it, too."""
_LONGEST_ASKED = 7 * 24 * 3600
_ETAG = re.compile(r'"?[0-9A-Za-z+/=-]+"?')


class Presigned:
    """Creates URLs, and multipart uploads whose parts clients send. Without ``enabled`` all methods raise 501."""

    def __init__(self, s3: S3, uploads: Uploads, *, enabled: bool) -> None:
        self._s3 = s3
        self._uploads = uploads
        self._enabled = enabled

    async def download(self, key: str, seconds: int = SECONDS) -> dict[str, Any]:
        """{url, headers, file_size} of an object. Raises ApiError, 404 if there is none."""
        # What MLflow answers for stores that cannot do this, and what its clients look for.
        self._check("Multipart download")
        return await self._download(key, seconds)

    async def download_of_run(self, key: str, seconds: int) -> dict[str, Any]:
        """{presigned_url, headers, file_size} of an object. Raises ApiError, 404 if there is none."""
        self._check("Presigned download")
        found = await self._download(key, seconds)
        return {"presigned_url": found["url"], "headers": {}, "file_size": found["file_size"]}

    async def _download(self, key: str, seconds: int) -> dict[str, Any]:
        try:
            head = await self._s3.send(S3Request(method="HEAD", action="s3:GetObject", key=key))
        except ApiError as error:
            raise await reading_error(self._s3, key, error) from None
        head.close()
        # Browsers save the file and do not show it, whatever its stored type is.
        query = [
            ("response-content-disposition", content_disposition(key)),
            ("response-content-type", content_type(key)),
        ]
        url = self._s3.presigned("GET", key, query, seconds)
        return {"url": url, "headers": {}, "file_size": head.content_length}

    def upload(self, key: str, seconds: int) -> dict[str, Any]:
        """{presigned_url, headers} for one PUT, which must have these headers. Raises ApiError."""
        self._check("Presigned upload")
        kind = content_type(key)
        url = self._s3.presigned("PUT", key, (), seconds, [("content-type", kind)])
        return {"presigned_url": url, "headers": {"Content-Type": kind}}

    async def create(self, context: RequestContext, folder: str) -> dict[str, Any]:
        """Create a multipart upload: {upload_id, credentials: [{url, part_number, headers}]}. Raises ApiError."""
        self._check("Multipart upload")
        sent = await _json(context)
        key = _key(folder, sent)
        count = _integer(sent, "num_parts", 1)
        if not 1 <= count <= PARTS:
            raise _invalid("num_parts", f"a number from 1 to {PARTS:,}: use larger parts")
        upload_id = await self._uploads.create(key, content_type(key))

        def sign() -> list[dict[str, Any]]:
            return [
                {"url": self._part_url(key, upload_id, number), "part_number": number, "headers": {}}
                for number in range(1, count + 1)
            ]

        return {"upload_id": upload_id, "credentials": await asyncio.to_thread(sign)}

    async def complete(self, context: RequestContext, folder: str) -> dict[str, Any]:
        """Complete a multipart upload. Raises ApiError."""
        self._check("Multipart upload")
        sent = await _json(context)
        parts: Any = sent.get("parts")
        if not isinstance(parts, list) or not parts:
            raise _invalid("parts", "a list of {part_number, etag}")
        await self._uploads.complete(
            _key(folder, sent), _string(sent, "upload_id"), [_part(part) for part in cast("Sequence[Any]", parts)]
        )
        return {}

    async def abort(self, context: RequestContext, folder: str) -> dict[str, Any]:
        """Abort a multipart upload. Raises ApiError."""
        self._check("Multipart upload")
        sent = await _json(context)
        await self._uploads.abort(_key(folder, sent), _string(sent, "upload_id"))
        return {}

    def _part_url(self, key: str, upload_id: str, number: int) -> str:
        return self._s3.presigned("PUT", key, [("partNumber", str(number)), ("uploadId", upload_id)], SECONDS)

    def _check(self, what: str) -> None:
        if not self._enabled:
            raise ApiError(
                501,
                "NOT_IMPLEMENTED",
                f"{what} is not supported for the current artifact repository: clients transfer files through the "
                "proxy (MLFLOW_PROXY_PRESIGNED_TRANSFERS).",
                reason="presigned-transfers-off",
            )


class PresignedRequest:
    """The body of presigned-upload-url and presigned-download-url; ``seconds`` is capped. ApiError 400."""

    def __init__(self, sent: Mapping[str, Any], *, models: bool) -> None:
        self.run_id = _string(sent, "run_id", required=not models)
        self.model_id = _string(sent, "model_id", required=False) if models else ""
        if bool(self.run_id) == bool(self.model_id):
            raise errors.bad_request("Exactly one of run_id and model_id must be provided.", reason="invalid-body")
        self.path = artifact_path(_string(sent, "path"))
        asked = _integer(sent, "expiration", SECONDS)
        if not 1 <= asked <= _LONGEST_ASKED:
            raise errors.bad_request(
                f"expiration must be between 1 and {_LONGEST_ASKED} seconds (got {asked}).", reason="invalid-body"
            )
        self.seconds = min(asked, SECONDS)

    @classmethod
    async def read(cls, context: RequestContext, *, models: bool) -> "PresignedRequest":
        """The body of the request."""
        return cls(await _json(context), models=models)


async def _json(context: RequestContext) -> dict[str, Any]:
    content = bytes((await context.body.buffer()).content)
    try:
        sent: Any = json.loads(content)
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise errors.bad_request("The request body is not a JSON object.", reason="invalid-body")
    return cast("dict[str, Any]", sent)


def _key(folder: str, sent: Mapping[str, Any]) -> str:
    """The key of a file in ``folder``; ``path`` is the path on the client, whose last segment is the name."""
    name = artifact_path(re.split(r"[/\\]", _string(sent, "path"))[-1])
    if not name:
        raise _invalid("path", "the path of a file")
    return f"{folder}/{name}" if folder else name


def _part(part: Any) -> tuple[int, str]:
    found = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
    etag = _string(found, "etag")
    if not _ETAG.fullmatch(etag):
        raise _invalid("etag", "the ETag of S3's response")
    return _integer(found, "part_number", 0), etag


def _string(sent: Mapping[str, Any], name: str, *, required: bool = True) -> str:
    value = sent.get(name, "")
    if not isinstance(value, str):
        raise _invalid(name, "a string")
    if required and not value:
        raise errors.bad_request(
            f"Missing value for required parameter '{name}'. See the API docs for more information about request "
            "parameters.",
            reason="missing-parameter",
        )
    return value


def _integer(sent: Mapping[str, Any], name: str, default: int) -> int:
    value = sent.get(name, default)
    # Protobuf's JSON writes 64-bit numbers as strings.
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not str(value).isdecimal():
        raise _invalid(name, "a whole number")
    return int(value)


def _invalid(name: str, form: str) -> ApiError:
    return errors.bad_request(f"Invalid value for parameter '{name}': expected {form}.", reason="invalid-body")
