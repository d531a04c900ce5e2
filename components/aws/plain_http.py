"""Port 80 of a load balancer with a certificate: browsers are redirected to HTTPS, all other requests are refused.

A client that is redirected sends its token over HTTP first with every request, without a sign of it.
"""

import json

import pulumi
from pulumi_aws import lb

from .deployment import Deployment

_REFUSED = {
    # MLflow's error format, which its clients show.
    "error_code": "BAD_REQUEST",
    "message": "This server accepts HTTPS only: use a tracking URI that starts with https://. If this request had a "
    "token, it was sent unencrypted: revoke it.",
}


def refusal() -> lb.ListenerDefaultActionArgs:
    """The default action of the listener on port 80."""
    return lb.ListenerDefaultActionArgs(
        type="fixed-response",
        fixed_response=lb.ListenerDefaultActionFixedResponseArgs(
            status_code="400", content_type="application/json", message_body=json.dumps(_REFUSED)
        ),
    )


def redirect_browsers(deployment: Deployment, listener: lb.Listener, parent: pulumi.Resource) -> None:
    """Redirect browsers that open the front page; MLflow's clients and curl do not accept HTML by name."""
    to_https = lb.ListenerRuleActionRedirectArgs(status_code="HTTP_301", protocol="HTTPS", port="443")
    lb.ListenerRule(
        deployment.logical_name("front-page-rule"),
        listener_arn=listener.arn,
        priority=10,
        conditions=[
            lb.ListenerRuleConditionArgs(path_pattern=lb.ListenerRuleConditionPathPatternArgs(values=["/"])),
            lb.ListenerRuleConditionArgs(
                http_request_method=lb.ListenerRuleConditionHttpRequestMethodArgs(values=["GET", "HEAD"])
            ),
            lb.ListenerRuleConditionArgs(
                http_header=lb.ListenerRuleConditionHttpHeaderArgs(http_header_name="Accept", values=["*text/html*"])
            ),
        ],
        actions=[lb.ListenerRuleActionArgs(type="redirect", redirect=to_https)],
        tags=deployment.tags_for("front-page-rule"),
        opts=pulumi.ResourceOptions(parent=parent),
    )
