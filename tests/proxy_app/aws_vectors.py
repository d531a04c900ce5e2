"""AWS's published test vectors for Signature Version 4, read from the folder beside this file.

Source: botocore, tests/unit/auth/aws4_testsuite, without its subfolders; LICENSE and NOTICE are included. A vector is a
request (.req), its canonical request (.creq), the string to sign (.sts), the Authorization header (.authz) and the
signed request (.sreq).
"""

import dataclasses
import re
from pathlib import Path

FOLDER = Path(__file__).with_name("aws4_testsuite")
REGION, SERVICE, AMZ_DATE = "us-east-1", "service", "20150830T123600Z"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@dataclasses.dataclass(frozen=True)
class Vector:
    """`headers` are (lower-case name, value) pairs, sorted by name; repeated headers are joined by commas."""

    name: str
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    canonical_request: str
    string_to_sign: str
    authorization: str
    signed_request: str

    def __str__(self) -> str:
        return self.name


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.req"))


def read(name: str) -> Vector:
    request, canonical, to_sign, authorization, signed = [
        (FOLDER / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("req", "creq", "sts", "authz", "sreq")
    ]
    head, _, body = request.partition("\n\n")
    line, *rest = head.splitlines()
    method, _, target = line.removesuffix(" HTTP/1.1").partition(" ")
    path, _, query = target.partition("?")
    headers: dict[str, list[str]] = {}
    last = ""
    for text in rest:
        if text.startswith(" "):  # a folded line continues the previous value
            headers[last][-1] += text
            continue
        last, _, value = text.partition(":")
        last = last.lower()
        headers.setdefault(last, []).append(value.strip())
    # The signer adds the session token, so the request does not contain it.
    if token := re.search(r"^x-amz-security-token:(.*)$", canonical, re.MULTILINE):
        headers["x-amz-security-token"] = [token[1]]
    return Vector(
        name,
        method,
        path,
        query,
        sorted((key, ",".join(values)) for key, values in headers.items()),
        body.encode(),
        canonical,
        to_sign,
        authorization,
        signed,
    )
