"""The design of AWS's blog post on a proxy for SageMaker MLflow, written plainly.

Flask under gunicorn, requests, botocore's signer for each request.

It has no authentication and no log line a request, as in the post. Settings: BENCH_TARGET_ARN, BENCH_UPSTREAM.
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
NOT_SENT_ON = {"host", "connection", "authorization", "content-length", "transfer-encoding"}
NOT_SENT_BACK = {"connection", "content-encoding", "content-length", "transfer-encoding"}

app = Flask(__name__)
aws = botocore.session.Session()
upstream = requests.Session()


@app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@app.route("/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def proxy(path: str) -> Response:
    """Sign whatever comes and send it on."""
    headers = {name: value for name, value in request.headers if name.lower() not in NOT_SENT_ON}
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
    answer = upstream.request(
        request.method, url, headers=dict(signed.headers), data=body, allow_redirects=False, timeout=120
    )
    kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in NOT_SENT_BACK]
    return Response(answer.content, answer.status_code, kept)
