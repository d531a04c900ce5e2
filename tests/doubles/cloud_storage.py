"""A fake of Cloud Storage with multipart uploads by the XML API; the emulator in gcs.py answers all other requests.

https://cloud.google.com/storage/docs/multipart-uploads and the reference pages of its requests (xml-api/
post-object-multipart, put-object-multipart, post-object-complete, delete-multipart), the limits of
https://cloud.google.com/storage/quotas#requests, error codes of .../xml-api/reference-status, and signed URLs:
https://cloud.google.com/storage/docs/authentication/canonical-requests and .../signatures. Initiating, completing and
aborting require an access token, a part requires a token or a signed URL.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import http.client
import http.server
import re
import secrets
import threading
from collections.abc import Generator
from typing import cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.doubles import gcs
from tests.doubles.iam_credentials import IamCredentials
from tests.doubles.secret_manager import ACCOUNT, CLOUD_PLATFORM

MIN_PART = 5 * 1024 * 1024
_MAX_PARTS = 10_000
_MAX_EXPIRES = 604_800
_SCOPES = {
    CLOUD_PLATFORM,
    "https://www.googleapis.com/auth/devstorage.full_control",
    "https://www.googleapis.com/auth/devstorage.read_write",
}
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class _RefusedError(Exception):
    """The response is an error; the arguments are its status, code and message."""


@dataclasses.dataclass
class Upload:
    """An upload in progress."""

    bucket: str
    name: str
    content_type: str
    parts: dict[int, bytes] = dataclasses.field(default_factory=dict[int, bytes])


class CloudStorage(http.server.ThreadingHTTPServer):
    """`uploads` are those in progress, `completed` the objects that were made of parts.

    `part_faults` are statuses, sent first, one for each part. `part_sizes` are those of all parts, in bytes.
    """

    daemon_threads = True

    def __init__(self, emulator: str, iam: IamCredentials) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.emulator = urlsplit(emulator).netloc
        self.iam = iam
        self.uploads: dict[str, Upload] = {}
        self.completed: list[str] = []
        self.part_faults: list[int] = []
        self.part_sizes: list[int] = []
        # Seconds by which Cloud Storage's clock is ahead.
        self.clock_ahead = 0.0

    @property
    def url(self) -> str:
        """The base URL of the JSON and the XML API."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that make Google's client library use this server, with access tokens."""
        return {"API_ENDPOINT_OVERRIDE": self.url}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def _do(self) -> None:
        body = self._body()
        query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if "uploads" not in query and "uploadId" not in query:
            self._forward(body)
            return
        try:
            self._multipart(cast("CloudStorage", self.server), query, body)
        except _RefusedError as error:
            status, code, message = error.args
            root = ElementTree.Element("Error")
            ElementTree.SubElement(root, "Code").text = code
            ElementTree.SubElement(root, "Message").text = message
            self._answer(status, _xml(root), {"Content-Type": "application/xml; charset=UTF-8"})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - as the base class calls them

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _multipart(self, storage: CloudStorage, query: dict[str, str], body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        bucket, _, name = path.removeprefix("/").partition("/")
        if bucket != gcs.BUCKET or not name:
            raise _RefusedError(404, "NoSuchBucket", "The specified bucket does not exist.")
        if self.command == "PUT" and "X-Goog-Signature" in query:
            self._check_signature(storage, query)
        else:
            self._check_token(storage)
        if "uploads" in query:
            self._initiate(storage, bucket, name, query, body)
            return
        upload = storage.uploads.get(query["uploadId"])
        if upload is None or (upload.bucket, upload.name) != (bucket, name):
            raise _RefusedError(404, "NoSuchUpload", "The requested upload was not found.")
        if self.command == "PUT":
            self._put(storage, upload, query, body)
        elif self.command == "POST":
            self._complete(storage, upload, query["uploadId"], body)
        elif self.command == "DELETE":
            del storage.uploads[query["uploadId"]]
            self._answer(204, b"", {})
        else:
            raise _RefusedError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")

    def _check_token(self, storage: CloudStorage) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not _SCOPES & set(storage.iam.metadata.tokens.get(token, ())):
            raise _RefusedError(401, "AuthenticationRequired", "Authentication required.")

    def _check_signature(self, storage: CloudStorage, query: dict[str, str]) -> None:
        parts = urlsplit(self.path)
        if self.headers["Authorization"]:
            raise _RefusedError(400, "InvalidArgument", "Only one auth mechanism allowed.")
        if query.get("X-Goog-Algorithm") != "GOOG4-RSA-SHA256":
            raise _RefusedError(400, "InvalidArgument", "Invalid X-Goog-Algorithm.")
        account, _, scope = query["X-Goog-Credential"].partition("/")
        date = query["X-Goog-Date"]
        if not re.fullmatch(rf"{date[:8]}/[a-z0-9-]+/storage/goog4_request", scope) or account != ACCOUNT:
            raise _RefusedError(400, "InvalidArgument", "Invalid X-Goog-Credential.")
        expires = int(query["X-Goog-Expires"])
        if not 0 < expires <= _MAX_EXPIRES:
            raise _RefusedError(400, "InvalidArgument", "X-Goog-Expires must be between 1 and 604800.")
        made = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        age = (datetime.datetime.now(datetime.UTC) - made).total_seconds() + storage.clock_ahead
        if age < -900 or age > expires:
            raise _RefusedError(400, "ExpiredToken", "The provided token has expired.")
        names = query["X-Goog-SignedHeaders"].split(";")
        unsigned = {name.lower() for name in self.headers if name.lower().startswith("x-goog-")} - set(names)
        if "host" not in names or unsigned or names != sorted(names):
            raise _RefusedError(403, "SignatureDoesNotMatch", f"Headers are not signed: host or {sorted(unsigned)}.")
        pairs = sorted(
            f"{quote(name, safe='~')}={quote(value, safe='~')}"
            for name, value in query.items()
            if name != "X-Goog-Signature"
        )
        headers = "".join(f"{name}:{' '.join((self.headers[name] or '').split())}\n" for name in names)
        canonical = "\n".join([self.command, parts.path, "&".join(pairs), headers, ";".join(names), "UNSIGNED-PAYLOAD"])
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["GOOG4-RSA-SHA256", date, scope, hashed])
        try:
            storage.iam.key.public_key().verify(
                bytes.fromhex(query["X-Goog-Signature"]), text.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (InvalidSignature, ValueError):
            text = "Access denied. The request signature we calculated does not match the signature you provided."
            raise _RefusedError(403, "SignatureDoesNotMatch", text) from None

    def _initiate(self, storage: CloudStorage, bucket: str, name: str, query: dict[str, str], body: bytes) -> None:
        if self.command != "POST" or query != {"uploads": ""} or body or self.headers["Content-Length"] != "0":
            raise _RefusedError(400, "InvalidArgument", "Invalid argument.")
        upload_id = secrets.token_urlsafe(48)
        storage.uploads[upload_id] = Upload(bucket, name, self.headers.get("Content-Type", "binary/octet-stream"))
        root = ElementTree.Element("InitiateMultipartUploadResult", xmlns=_NAMESPACE)
        for tag, text in (("Bucket", bucket), ("Key", name), ("UploadId", upload_id)):
            ElementTree.SubElement(root, tag).text = text
        self._answer(200, _xml(root), {"Content-Type": "application/xml; charset=UTF-8"})

    def _put(self, storage: CloudStorage, upload: Upload, query: dict[str, str], body: bytes) -> None:
        if storage.part_faults:
            raise _RefusedError(storage.part_faults.pop(0), "ServiceUnavailable", "We're sorry. Please try again.")
        number = int(query["partNumber"])
        if not 1 <= number <= _MAX_PARTS:
            raise _RefusedError(400, "InvalidArgument", "Part number must be an integer between 1 and 10000.")
        upload.parts[number] = body
        storage.part_sizes.append(len(body))
        self._answer(200, b"", {"ETag": _etag(body)})

    def _complete(self, storage: CloudStorage, upload: Upload, upload_id: str, body: bytes) -> None:
        try:
            root = ElementTree.fromstring(body)
            listed = [
                (int(part.findtext("PartNumber") or ""), part.findtext("ETag") or "") for part in root.findall("Part")
            ]
        except (ElementTree.ParseError, ValueError):
            raise _RefusedError(400, "MalformedCompleteMultipartUploadRequest", "Malformed request.") from None
        numbers = [number for number, _ in listed]
        if not listed or root.tag != "CompleteMultipartUpload":
            raise _RefusedError(400, "MalformedCompleteMultipartUploadRequest", "Malformed request.")
        if numbers != sorted(set(numbers)):
            raise _RefusedError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        for number, etag in listed:
            if number not in upload.parts or etag != _etag(upload.parts[number]):
                raise _RefusedError(400, "InvalidPart", "One or more of the specified parts could not be found.")
        if any(len(upload.parts[number]) < MIN_PART for number in numbers[:-1]):
            raise _RefusedError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum part size.")
        content = b"".join(upload.parts[number] for number in numbers)
        connection = http.client.HTTPConnection(storage.emulator, timeout=200)
        target = f"/{upload.bucket}/{quote(upload.name)}"
        connection.request("PUT", target, content, {"Content-Type": upload.content_type})
        assert connection.getresponse().status == 200
        connection.close()
        del storage.uploads[upload_id]
        storage.completed.append(upload.name)
        result = ElementTree.Element("CompleteMultipartUploadResult", xmlns=_NAMESPACE)
        for tag, text in (("Bucket", upload.bucket), ("Key", upload.name), ("ETag", f'"{secrets.token_hex(8)}"')):
            ElementTree.SubElement(result, tag).text = text
        self._answer(200, _xml(result), {"Content-Type": "application/xml; charset=UTF-8"})

    def _forward(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(cast("CloudStorage", self.server).emulator, timeout=200)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
        response = connection.getresponse()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in {"server", "date"}}
        self._answer(response.status, response.read(), kept)
        connection.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


def _etag(part: bytes) -> str:
    return f'"{hashlib.md5(part, usedforsecurity=False).hexdigest()}"'


def _xml(root: ElementTree.Element) -> bytes:
    return ElementTree.tostring(root, "utf-8", xml_declaration=True)


@contextlib.contextmanager
def running(iam: IamCredentials) -> Generator[CloudStorage]:
    """Run Cloud Storage with the bucket gcs.BUCKET; it accepts the tokens of `iam.metadata` and signatures of `iam`."""
    with gcs.running() as emulator, CloudStorage(emulator["STORAGE_EMULATOR_HOST"], iam) as storage:
        thread = threading.Thread(target=storage.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield storage
        finally:
            storage.shutdown()
            thread.join()
