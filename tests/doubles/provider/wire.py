"""Conversion between protobuf Structs, as the engine sends them, and plain Python values."""

from collections.abc import Mapping
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

# Signatures of special values: pulumi/sdk/go/common/resource/properties.go and .../plugin/rpc.go.
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_ASSET = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"


class _Unknown:
    """An output whose value is unknown until its resource exists."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()


def read(struct: Struct) -> dict[str, Any]:
    """Return plain values. Raises ValueError for secrets: the double declares that it accepts none."""
    return cast("dict[str, Any]", _from_wire(json_format.MessageToDict(struct)))


def write(values: Mapping[str, Any]) -> Struct:
    """Return a Struct."""
    struct = Struct()
    struct.update(_to_wire(values))
    return struct


def is_asset(value: Any) -> bool:
    """Whether a value is an asset or an archive."""
    return isinstance(value, dict) and cast("dict[str, Any]", value).get(_SIGNATURE) in (_ASSET, _ARCHIVE)


def holds_unknown(value: Any) -> bool:
    """Whether a value contains an unknown."""
    if isinstance(value, dict):
        return any(holds_unknown(item) for item in cast("dict[str, Any]", value).values())
    if isinstance(value, list):
        return any(holds_unknown(item) for item in cast("list[Any]", value))
    return value is UNKNOWN


def _from_wire(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if items.get(_SIGNATURE) == _SECRET:
            raise ValueError("The engine sent a secret, although the double does not accept secrets.")
        return {name: _from_wire(item) for name, item in items.items()}
    if isinstance(value, list):
        return [_from_wire(item) for item in cast("list[Any]", value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return UNKNOWN if value == _UNKNOWN_TEXT else value


def _to_wire(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_wire(item) for name, item in cast("Mapping[str, Any]", value).items() if item is not None}
    if isinstance(value, list | tuple):
        return [_to_wire(item) for item in cast("list[Any]", value)]
    return _UNKNOWN_TEXT if value is UNKNOWN else value
