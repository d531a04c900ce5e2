"""Folders in S3, which are prefixes of keys: listed and deleted as MLflow's S3ArtifactRepository does."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from .. import errors
from ..errors import ApiError
from .s3 import S3, S3Request
from .s3_error import S3Error, parse_xml, text

# S3's limit of keys in a page, and of a DeleteObjects request.
_PAGE = 1000
_LARGEST_FOLDER = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A file or folder; ``name`` is the last segment of its path, ``size`` is in bytes, None for a folder."""

    name: str
    size: int | None

    def json(self) -> dict[str, str | bool | int]:
        """MLflow's FileInfo."""
        if self.size is None:
            return {"path": self.name, "is_dir": True}
        return {"path": self.name, "is_dir": False, "file_size": self.size}


async def entries(s3: S3, folder: str) -> list[Entry]:
    """The entries of the folder with this key, sorted by name; empty for a file or for nothing.

    Raises ApiError, 400 for more than 100,000 entries.
    """
    prefix = f"{folder}/" if folder else ""
    found: list[Entry] = []
    async for page in _pages(s3, prefix, delimiter="/"):
        found += [
            Entry(text(element, "Prefix")[len(prefix) :].rstrip("/"), None) for element in page.iter("CommonPrefixes")
        ]
        for element in page.iter("Contents"):
            key, size = text(element, "Key"), int(text(element, "Size"))
            # Consoles create an empty object with a slash at its end for a folder.
            if not (size == 0 and key.endswith("/")):
                found.append(Entry(key[len(prefix) :], size))
        if len(found) > _LARGEST_FOLDER:
            raise errors.bad_request(
                f"The folder has more than {_LARGEST_FOLDER:,} entries: list a folder below it.",
                reason="folder-too-large",
            )
    return sorted(found, key=lambda entry: entry.name)


async def is_folder(s3: S3, key: str) -> bool:
    """Whether an object lies below ``key``. Raises ApiError."""
    async for page in _pages(s3, f"{key}/", size=1):
        return page.find("Contents") is not None
    return False


async def reading_error(s3: S3, key: str, error: ApiError) -> ApiError:
    """The error for a read of ``key`` that failed: 404 in place of 403 if there is no such object.

    S3 answers 404 to roles that may list the bucket, and 403 to others. The permission to list below a prefix has a
    condition on s3:prefix, which a read does not have.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    if error.status != 403:
        return error
    try:
        async for page in _pages(s3, key, size=1):
            if (found := page.find("Contents")) is not None and text(found, "Key") == key:
                return error
            break
    except ApiError:
        return error
    return S3Error(404, "NoSuchKey", "The specified key does not exist.").api_error(s3.bucket, "s3:GetObject")


async def delete(s3: S3, key: str) -> None:
    """Delete the object ``key``, and all objects below it. Raises ApiError."""
    await s3.read(S3Request(method="DELETE", action="s3:DeleteObject", key=key))
    async for page in _pages(s3, f"{key}/"):
        if keys := [text(element, "Key") for element in page.iter("Contents")]:
            await _delete_keys(s3, keys)


async def _delete_keys(s3: S3, keys: list[str]) -> None:
    root = ET.Element("Delete", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for key in keys:
        ET.SubElement(ET.SubElement(root, "Object"), "Key").text = key
    ET.SubElement(root, "Quiet").text = "true"
    body = ET.tostring(root)
    digest = base64.b64encode(sha256(body).digest()).decode()
    request = S3Request(
        method="POST",
        action="s3:DeleteObject",
        query=[("delete", "")],
        # S3 requires a checksum of this request.
        headers=[("content-type", "application/xml"), ("x-amz-checksum-sha256", digest)],
        body=await s3.body(body),
    )
    _, answer = await s3.read(request)
    if (failed := parse_xml(answer).find("Error")) is not None:
        code = text(failed, "Code")
        status = 403 if code == "AccessDenied" else 500
        raise S3Error(status, code, text(failed, "Message") or code).api_error(s3.bucket, request.action)


async def _pages(s3: S3, prefix: str, *, delimiter: str = "", size: int = _PAGE) -> AsyncIterator[ET.Element]:
    query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(size)), ("prefix", prefix)]
    if delimiter:
        query.append(("delimiter", delimiter))
    token = ""
    while True:
        at = [("continuation-token", token)] if token else []
        _, body = await s3.read(S3Request(method="GET", action="s3:ListBucket", query=[*query, *at]))
        page = parse_xml(body)
        # Not every S3 encodes the keys, which it then does not say.
        if text(page, "EncodingType") == "url":
            for element in page.iter():
                if element.tag in {"Key", "Prefix"}:
                    element.text = unquote_plus(element.text or "")
        yield page
        token = text(page, "NextContinuationToken") if text(page, "IsTruncated") == "true" else ""
        if not token:
            return
