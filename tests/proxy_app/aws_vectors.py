"""AWS's published Signature Version 4 vectors, read from the folder beside this file.

They are AWS's own, as botocore carries them in tests/unit/auth/aws4_testsuite, laid flat; LICENSE and NOTICE are there.
A vector is a request (.req), its canonical form (.creq), what is signed (.sts), the Authorization header (.authz) and
the signed request (.sreq).
"""

import dataclasses
import re
from pathlib import Path

FOLDER = Path(__file__).with_name("aws4_testsuite")
REGION, SERVICE, AMZ_DATE = "us-east-1", "service", "20150830T123600Z"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@dataclasses.dataclass(frozen=True)
class Vector:
    """`headers` are (lower-case name, value), sorted by name, a repeated one joined as HTTP has it."""

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
        if text.startswith(" "):  # a folded line goes on with the value before it
            headers[last][-1] += text
            continue
        last, _, value = text.partition(":")
        last = last.lower()
        headers.setdefault(last, []).append(value.strip())
    # The vectors' signer adds the session token that it is given; requests show none.
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
