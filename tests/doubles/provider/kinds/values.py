"""The random package: values that are generated once and stored."""

import base64
import string
from typing import Any

from ..kind import CreateRequest, Kind, Problems, Values
from .common import between


def _digits(request: CreateRequest, length: int, letters: str) -> str:
    number = int(request.hex_digits(64) + request.hex_digits(64, "more"), 16)
    generated = ""
    while len(generated) < length:
        number, index = divmod(number, len(letters))
        generated += letters[index]
        number = number or int(request.hex_digits(64), 16)
    return generated


def _password(request: CreateRequest) -> tuple[str, dict[str, object]]:
    inputs = request.inputs
    groups = (
        ("lower", string.ascii_lowercase),
        ("upper", string.ascii_uppercase),
        ("numeric", string.digits),
        ("special", inputs.get("overrideSpecial") or "!@#$%&*()-_=+[]{}<>:?"),
    )
    letters = "".join(letters for field, letters in groups if inputs.get(field, True))
    password = _digits(request, int(inputs["length"]), letters)
    return "none", {"result": password, "bcryptHash": f"$2a$10${_digits(request, 53, string.ascii_letters)}"}


def _string(request: CreateRequest) -> tuple[str, dict[str, object]]:
    text = str(_password(request)[1]["result"])
    return text, {"result": text}


def _bytes(request: CreateRequest) -> tuple[str, dict[str, object]]:
    data = bytes.fromhex(request.hex_digits(64) * (1 + int(request.inputs["length"]) // 32))[
        : int(request.inputs["length"])
    ]
    return "none", {"base64": base64.b64encode(data).decode(), "hex": data.hex()}


def _id(request: CreateRequest) -> tuple[str, dict[str, object]]:
    length = int(request.inputs["byteLength"])
    data = bytes.fromhex(request.hex_digits(64) * (1 + length // 32))[:length]
    url, prefix = base64.urlsafe_b64encode(data).decode().rstrip("="), str(request.inputs.get("prefix") or "")
    return url, {
        "b64Std": prefix + base64.b64encode(data).decode(),
        "b64Url": prefix + url,
        "dec": f"{prefix}{int.from_bytes(data)}",
        "hex": prefix + data.hex(),
    }


def _uuid(request: CreateRequest) -> tuple[str, dict[str, object]]:
    digits: Any = request.hex_digits(32)
    text = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
    return text, {"result": text}


def _length(inputs: Values) -> Problems:
    return between(inputs, "length", 1, 4096)


KINDS = (
    Kind(token="random:index/randomPassword:RandomPassword", make=_password, check=_length, key="result"),
    Kind(token="random:index/randomString:RandomString", make=_string, check=_length),
    Kind(token="random:index/randomBytes:RandomBytes", make=_bytes, check=_length, key="hex"),
    Kind(token="random:index/randomId:RandomId", make=_id),
    Kind(token="random:index/randomUuid:RandomUuid", make=_uuid),
)
