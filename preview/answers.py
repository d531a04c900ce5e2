"""What the clouds would answer: ids and names that a reader can tell apart.

One row for each kind of resource whose outputs a program reads. A program that uses an output which is not here gets
a MissingAnswer that names it.
"""

from collections.abc import Mapping
from typing import Any

from .answering import Answer, CallAnswer, digest, hex_id
from .aws import answers as aws
from .aws.answers import ACCOUNT, PARTITION, REGION, ZONES, arn, elbv2, resource_id
from .gcp import answers as gcp

__all__ = [
    "ACCOUNT",
    "CALLS",
    "PARTITION",
    "REGION",
    "RESOURCES",
    "ZONES",
    "MissingAnswer",
    "answer_call",
    "answer_resource",
    "arn",
    "elbv2",
    "hex_id",
    "resource_id",
]


class MissingAnswer(LookupError):
    """The program used what the cloud would answer, and nobody has written it down here."""


# By type: the outputs beyond the inputs. A cloud's own are in its folder.
RESOURCES: dict[str, Answer] = {
    # -- aws: preview/aws/answers.py
    **aws.RESOURCES,
    # -- gcp: preview/gcp/answers.py
    **gcp.RESOURCES,
    # -- of no cloud
    # Its name ends with the hash of what it is built from, its digest says nothing about that here.
    "docker-build:index:Image": lambda name, _: {"digest": f"sha256:{digest(name.rpartition('-')[0])}"},
    "random:index/randomId:RandomId": lambda name, inputs: {"hex": hex_id(name)[: 2 * int(inputs["byteLength"])]},
    "random:index/randomString:RandomString": lambda name, inputs: {"result": hex_id(name)[: int(inputs["length"])]},
    "random:index/randomPassword:RandomPassword": lambda name, inputs: {
        "result": digest(name)[: int(inputs["length"])]
    },
    "pulumi:index:Stash": lambda _, inputs: {"output": inputs["input"]},
}
# By token: the answer to a call.
CALLS: dict[str, CallAnswer] = {
    **aws.CALLS,  # preview/aws/answers.py
    **gcp.CALLS,  # preview/gcp/answers.py
}


def answer_resource(kind: str, name: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(id, outputs) of a new resource."""
    known = RESOURCES.get(kind, lambda _name, _inputs: {})(name, inputs)
    outputs = {**inputs, **known}
    return str(outputs.pop("id", f"{name}-id")), outputs


def answer_call(token: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a call. Raises MissingAnswer for one that nobody has written down."""
    if token not in CALLS:
        raise MissingAnswer(f"preview/answers.py has no answer to {token}.")
    return CALLS[token](args)
