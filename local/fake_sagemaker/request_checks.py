"""Checks of a request apart from its signature: headers that must not arrive, and the target's ARN."""

from local.fake_sagemaker.errors import AwsError
from local.fake_sagemaker.http_message import ReceivedRequest
from local.fake_sagemaker.target import ARN_HEADERS, Target

_CLIENT_HEADERS = frozenset(
    {"cookie", "forwarded", "origin", "proxy-authorization", "referer", "x-real-ip"}
    | {f"sec-fetch-{what}" for what in ("dest", "mode", "site", "user")}
)
_CLIENT_HEADERS_PREFIXES = ("x-amzn-oidc-", "x-forwarded-", "x-goog-")


def reject_client_headers(request: ReceivedRequest, port: int) -> None:
    """AwsError (400) when a proxy has forwarded a header of its client, so that tests notice.

    AWS itself accepts most of these headers. `port` is that of this listener, for the check of Host.
    """
    for name in request.headers:
        lower = name.lower()
        if lower in _CLIENT_HEADERS or lower.startswith(_CLIENT_HEADERS_PREFIXES):
            raise AwsError("LeakedHeader", f"The header {name} was forwarded from the client.", status=400)
    if request.headers.get("Host") not in {f"localhost:{port}", f"127.0.0.1:{port}"}:
        raise AwsError(
            "LeakedHeader",
            f"The header Host was forwarded from the client: {request.headers.get('Host')!r}.",
            status=400,
        )


def check_target_arn(request: ReceivedRequest, target: Target, principal: str) -> None:
    """AwsError unless the header of the target's kind, and no other, names the target's ARN."""
    for name in sorted(ARN_HEADERS - {target.header}):
        if name in request.headers:
            raise AwsError("ValidationException", f"{name} is not valid for a {target.kind}.", status=400)
    arns = request.headers.getall(target.header, [])
    if len(arns) != 1:
        raise AwsError("ValidationException", f"{target.header} is required exactly once.", status=400)
    if arns[0] != target.arn:
        action = "sagemaker:CallMlflowAppApi" if target.kind == "mlflow-app" else "sagemaker-mlflow:*"
        raise access_denied(principal, action, arns[0])


def access_denied(principal: str, action: str, resource: str) -> AwsError:
    """IAM's error for a principal that lacks a permission."""
    return AwsError(
        "AccessDeniedException",
        f"User: {principal} is not authorized to perform: {action} on resource: {resource}",
    )
