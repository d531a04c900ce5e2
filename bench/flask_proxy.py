"""The design of AWS's blog post on a proxy for SageMaker MLflow, in its simplest form.

Flask under gunicorn, requests, botocore's signer for each request.

As in the post, it has no authentication and no access log. Settings: BENCH_TARGET_ARN, BENCH_UPSTREAM.
"""

import os

import botocore.session
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from flask import Flask, Response, request

TARGET_ARN = os.environ["BENCH_TARGET_ARN"]
UPSTREAM = os.environ["BENCH_UPSTREAM"]
REGION = TARGET_ARN.split(":")[3]
DROPPED_REQUEST_HEADERS = {"host", "connection", "authorization", "content-length", "transfer-encoding"}
DROPPED_RESPONSE_HEADERS = {"connection", "content-encoding", "content-length", "transfer-encoding"}

app = Flask(__name__)
aws = botocore.session.Session()
upstream = requests.Session()


@app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@app.route("/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def proxy(path: str) -> Response:
    """Sign the request and forward it."""
    headers = {name: value for name, value in request.headers if name.lower() not in DROPPED_REQUEST_HEADERS}
    headers["x-mlflow-sm-tracking-server-arn"] = TARGET_ARN
    url = f"{UPSTREAM}/{path}"
    if request.query_string:
        url += "?" + request.query_string.decode()
    body = request.get_data()
    credentials = aws.get_credentials()
    if credentials is None:
        raise RuntimeError("no AWS credentials")
    signed = AWSRequest(method=request.method, url=url, data=body, headers=headers)
    SigV4Auth(credentials, "sagemaker-mlflow", REGION).add_auth(signed)
    response = upstream.request(
        request.method, url, headers=dict(signed.headers), data=body, allow_redirects=False, timeout=120
    )
    forwarded = [
        (name, value) for name, value in response.headers.items() if name.lower() not in DROPPED_RESPONSE_HEADERS
    ]
    return Response(response.content, response.status_code, forwarded)
