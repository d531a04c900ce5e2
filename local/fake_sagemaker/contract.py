"""What SageMaker's MLflow endpoint asks of a request besides its signature."""

from local.fake_sagemaker.refusals import Refusal
from local.fake_sagemaker.target import ARN_HEADERS, Target
from local.fake_sagemaker.wire import Received

_CALLERS_OWN = frozenset(
    {"cookie", "forwarded", "origin", "proxy-authorization", "referer", "x-real-ip"}
    | {f"sec-fetch-{what}" for what in ("dest", "mode", "site", "user")}
)
_CALLERS_OWN_PREFIXES = ("x-amzn-oidc-", "x-forwarded-", "x-goog-")


def refuse_leaks(request: Received, port: int) -> None:
    """Refusal (400) when a caller's own header has come through a proxy, so that a test sees it.

    AWS would let most of them pass. `port` is where this listener is reached, as localhost or 127.0.0.1.
    """
    for name in request.headers:
        lower = name.lower()
        if lower in _CALLERS_OWN or lower.startswith(_CALLERS_OWN_PREFIXES):
            raise Refusal("LeakedHeader", f"The header {name} came through: a caller's, not yours.", status=400)
    if request.headers.get("Host") not in {f"localhost:{port}", f"127.0.0.1:{port}"}:
        raise Refusal("LeakedHeader", f"The header Host came through: {request.headers.get('Host')!r}.", status=400)


def check_target(request: Received, target: Target, principal: str) -> None:
    """Refusal unless the target's ARN, and nothing else, is named by the header of its kind."""
    for name in sorted(ARN_HEADERS - {target.header}):
        if name in request.headers:
            raise Refusal("ValidationException", f"{name} does not go with a {target.kind}.", status=400)
    arns = request.headers.getall(target.header, [])
    if len(arns) != 1:
        raise Refusal("ValidationException", f"{target.header} is needed, once.", status=400)
    if arns[0] != target.arn:
        action = "sagemaker:CallMlflowAppApi" if target.kind == "mlflow-app" else "sagemaker-mlflow:*"
        raise denied(principal, action, arns[0])


def denied(principal: str, action: str, resource: str) -> Refusal:
    return Refusal(
        "AccessDeniedException",
        f"User: {principal} is not authorized to perform: {action} on resource: {resource}",
    )
