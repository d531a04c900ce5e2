"""Read-only calls of AWS's APIs with the deployer's own credentials."""

import functools
import json
import re
import threading
from collections.abc import Mapping
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from ..errors import Unchecked

# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html; EC2 has a name of its own.
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
_PERMISSION = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
# IAM's name of an action where it differs from the operation's.
_ACTIONS = {"s3:HeadBucket": "s3:ListBucket"}
_SERVICES = {"tagging": "tag", "monitoring": "cloudwatch"}
_NO_CREDENTIALS = "no AWS credentials: set AWS_PROFILE, or run `aws sso login` or `aws configure`"


_CONFIG = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 3})


class RejectedError(Unchecked):
    """AWS rejects the credentials: they are wrong or expired."""


class Aws:
    """Clients for the region and profile of the stack (aws:region, aws:profile), as the AWS provider chooses them."""

    def __init__(self, config: Mapping[str, str], session: boto3.Session | None = None) -> None:
        """``config`` is the stack's. ``session``: default is one with this profile and region."""
        self.config = config
        self._given = session
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._identity: Any = None

    @functools.cached_property
    def session(self) -> boto3.Session:
        """The session. Raises Unchecked if the profile does not exist."""
        found = self._given
        if found is None:
            region, profile = self.config.get("aws:region"), self.config.get("aws:profile")
            try:
                found = boto3.Session(profile_name=profile, region_name=region)
            except BotoCoreError as error:
                raise Unchecked(f"no AWS credentials: {error}") from None
        for role in json.loads(self.config.get("aws:assumeRoles", "[]")):
            found = self._assume(found, role)
        return found

    def _assume(self, session: boto3.Session, role: Mapping[str, Any]) -> boto3.Session:
        """A session of a role that the AWS provider assumes, too."""
        region = self.config.get("aws:region")
        parameters = {"RoleArn": role["roleArn"], "RoleSessionName": str(role.get("sessionName") or "preflight")}
        if role.get("externalId"):
            parameters["ExternalId"] = role["externalId"]
        client = cast("Any", session).client("sts", region_name=region, config=_CONFIG)
        keys = _call(client, "assume_role", parameters)["Credentials"]
        names = (keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        return boto3.Session(*names, region_name=region)

    @property
    def region(self) -> str:
        """The region. Raises Unchecked without one."""
        region = self.config.get("aws:region") or cast("Any", self.session).region_name
        if not region:
            raise Unchecked("no region: run `pulumi config set aws:region eu-west-1`")
        return str(region)

    @property
    def account(self) -> str:
        """The account of the credentials. Raises Unchecked without credentials."""
        return str(self.identity()["Account"])

    @property
    def partition(self) -> str:
        """The partition of the credentials (aws, aws-us-gov). Raises Unchecked without credentials."""
        return str(self.identity()["Arn"]).split(":")[1]

    def identity(self) -> Mapping[str, Any]:
        """Return the response of sts:GetCallerIdentity, which is called once and needs no permission."""
        # Most checks need it; the lock makes one call of theirs.
        client = self._client("sts")
        with self._lock:
            if self._identity is None:
                self._identity = _call(client, "get_caller_identity", {})
            return cast("Mapping[str, Any]", self._identity)

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return the response of an operation in boto3's spelling, with the items of all pages.

        Raises Unchecked without credentials, connection or permission, and ClientError for other errors.
        """
        return _call(self._client(service), operation, parameters)

    def call_in(self, region: str, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Like ``call``, in another region."""
        return _call(self._client(service, region), operation, parameters)

    def _client(self, service: str, region: str = "") -> Any:
        with self._lock:
            place = region or self.region
            if (service, place) not in self._clients:
                client = cast("Any", self.session).client(service, region_name=place, config=_CONFIG)
                self._clients[service, place] = client
            return self._clients[service, place]


def error_code(error: ClientError) -> str:
    """Return AWS's name of an error, such as ResourceNotFoundException."""
    return str(cast("Any", error.response).get("Error", {}).get("Code", ""))


def _call(client: Any, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if client.can_paginate(operation):
            return cast("dict[str, Any]", client.get_paginator(operation).paginate(**parameters).build_full_result())
        return cast("dict[str, Any]", getattr(client, operation)(**parameters))
    except (NoCredentialsError, PartialCredentialsError):
        raise Unchecked(_NO_CREDENTIALS) from None
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise Unchecked(f"no response from AWS: {error}") from None
    except EndpointConnectionError as error:
        raise Unchecked(f"no connection to AWS: {error}") from None
    except ClientError as error:
        if error_code(error) in _DENIED:
            permission = _permission(client, error)
            raise Unchecked("access denied", permission) from None
        if error_code(error) in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "RequestExpired"):
            raise RejectedError(f"AWS rejects the credentials ({error_code(error)})") from None
        raise
    except BotoCoreError as error:
        # Such as an expired SSO session.
        raise Unchecked(f"no AWS credentials: {error}") from None


def _permission(client: Any, error: ClientError) -> str:
    """The permission that AWS's message names; otherwise that of the operation's name."""
    named = _PERMISSION.search(str(error))
    if named:
        return named[1]
    service = client.meta.service_model.signing_name
    action = f"{_SERVICES.get(service, service)}:{error.operation_name}"
    return _ACTIONS.get(action, action)
