"""Mock outputs of resources and mock results of calls.

There is one row for each type whose outputs the program reads. If the program reads an output without a mock, the
recorder raises MissingMockOutputError with its name.
"""

from collections.abc import Mapping
from typing import Any

from .aws import mock_outputs as aws
from .gcp import mock_outputs as gcp
from .mock_ids import CallMock, ResourceMock, digest, hex_id


class MissingMockOutputError(LookupError):
    """The program reads an output, or makes a call, that has no mock."""


# By type token: the outputs beyond the inputs.
RESOURCES: dict[str, ResourceMock] = {
    **aws.RESOURCES,
    **gcp.RESOURCES,
    # The name ends with a hash of the build context; the mock digest does not depend on it.
    "docker-build:index:Image": lambda name, _: {"digest": f"sha256:{digest(name.rpartition('-')[0])}"},
    "random:index/randomId:RandomId": lambda name, inputs: {"hex": hex_id(name)[: 2 * int(inputs["byteLength"])]},
    "random:index/randomString:RandomString": lambda name, inputs: {"result": hex_id(name)[: int(inputs["length"])]},
    "random:index/randomPassword:RandomPassword": lambda name, inputs: {
        "result": digest(name)[: int(inputs["length"])]
    },
    "pulumi:index:Stash": lambda _, inputs: {"output": inputs["input"]},
}
# By function token: the result.
CALLS: dict[str, CallMock] = {**aws.CALLS, **gcp.CALLS}


def resource_outputs(type_token: str, name: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return (id, outputs) of a new resource."""
    mock = RESOURCES.get(type_token, lambda _name, _inputs: {})(name, inputs)
    outputs = {**inputs, **mock}
    return str(outputs.pop("id", f"{name}-id")), outputs


def call_result(token: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a call. Raises MissingMockOutputError for a function that has no mock."""
    if token not in CALLS:
        raise MissingMockOutputError(f"preview/mock_outputs.py has no result for {token}.")
    return CALLS[token](args)
