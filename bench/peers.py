"""The measured servers: the proxy and its alternatives, each with a default configuration."""

import getpass
import grp
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench.certificates import Chain
from bench.machine import BenchmarkError, find, need
from bench.processes import ROOT, Server, environment, serving
from local.ports import free_port

TARGET_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/bench"


@dataclass(frozen=True)
class ServerSetup:
    """The common settings of the servers of a run. ``upstream``: the origin behind them, https or http."""

    folder: Path
    chain: Chain
    upstream: str
    cores: set[int]

    @property
    def upstream_address(self) -> str:
        """Host and port of the upstream."""
        return self.upstream.partition("://")[2]


Start = Callable[[ServerSetup], AbstractContextManager[Server]]


def installed(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names without aws-sigv4-proxy if that is not installed, since it is optional."""
    if "aws-sigv4-proxy" not in names or find("aws-sigv4-proxy"):
        return names
    print("aws-sigv4-proxy is not on PATH and is skipped; see https://github.com/awslabs/aws-sigv4-proxy")
    return tuple(name for name in names if name != "aws-sigv4-proxy")


def new_token(folder: Path, *, checkout: Path = ROOT, name: str = "bench") -> tuple[Path, str]:
    """(the proxy's tokens file, an editor's token in it), made by the proxy of ``checkout``.

    BenchmarkError if the command fails.
    """
    file = folder / f"tokens-{checkout.name}.json"
    command = [sys.executable, "-m", "proxy_app", "token", "new"]
    options = ["--name", name, "--role", "editor", "--days", "1", "--file", str(file)]
    made = subprocess.run(
        [*command, *options],
        # Not in this checkout, whose proxy Python would find first.
        cwd=folder,
        env=environment(folder, {"PYTHONPATH": str(checkout)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if made.returncode:
        raise BenchmarkError(f"`python -m proxy_app token new` failed: {made.stderr.strip()}")
    return file, made.stdout.strip()


def proxy(
    setup: ServerSetup,
    tokens: Path,
    *,
    plain: bool = False,
    checkout: Path = ROOT,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> AbstractContextManager[Server]:
    """The proxy of ``checkout`` with authentication and access log, and with ``extra`` settings.

    ``plain``: without signing, for a plain MLflow.
    """
    port = free_port()
    if plain:
        target = {"MLFLOW_PROXY_UPSTREAM_URL": setup.upstream}
    else:
        target = {
            "MLFLOW_PROXY_TARGET_ARN": TARGET_ARN,
            "MLFLOW_PROXY_TARGET_ENDPOINT": setup.upstream,
            **_artifacts_and_ui(checkout),
        }
    return serving(
        f"proxy-plain-{checkout.name}" if plain else f"proxy-{checkout.name}",
        [sys.executable, "-m", "proxy_app"],
        port=port,
        folder=setup.folder,
        on=setup.cores,
        env={
            **target,
            **_without_fair_use(checkout),
            "PYTHONPATH": str(checkout),
            "AWS_CA_BUNDLE": str(setup.chain.root),
            "MLFLOW_PROXY_TOKENS_FILE": str(tokens),
            "MLFLOW_PROXY_LISTEN": f"127.0.0.1:{port}",
            "MLFLOW_PROXY_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
            "MLFLOW_PROXY_DRAIN_SECONDS": "0",
            "MLFLOW_PROXY_GRACE_SECONDS": "2",
            **extra,
        },
    )


def _without_fair_use(checkout: Path) -> dict[str, str]:
    """Limits that no load generator reaches; checked for every request all the same."""
    if not (checkout / "proxy_app" / "limits").is_dir():
        return {}
    names = ("PRINCIPAL_MAX_REQUESTS", "PRINCIPAL_REQUESTS_PER_SECOND")
    return {f"MLFLOW_PROXY_{name}": "1000000" for name in names}


def _artifacts_and_ui(checkout: Path) -> dict[str, str]:
    """As in a stack: locations are mapped in every response, and routes are looked up for two upstreams."""
    if not (checkout / "proxy_app" / "artifacts").is_dir():
        return {}
    return {"MLFLOW_PROXY_ARTIFACTS_URI": "s3://bench/mlflow", "MLFLOW_PROXY_UI_URL": "http://127.0.0.1:9"}


def flask(setup: ServerSetup) -> AbstractContextManager[Server]:
    """The design of AWS's blog post: bench/flask_proxy.py with gunicorn's defaults."""
    port = free_port()
    listen = ["--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    return serving(
        "flask",
        [sys.executable, "-m", "gunicorn", *listen, "bench.flask_proxy:app"],
        port=port,
        folder=setup.folder,
        on=setup.cores,
        env={
            "BENCH_TARGET_ARN": TARGET_ARN,
            "BENCH_UPSTREAM": setup.upstream,
            "REQUESTS_CA_BUNDLE": str(setup.chain.root),
        },
    )


def aws_sigv4_proxy(setup: ServerSetup) -> AbstractContextManager[Server]:
    """github.com/awslabs/aws-sigv4-proxy, with certificate verification, without authentication and access log."""
    port = free_port()
    return serving(
        "aws-sigv4-proxy",
        [
            need("aws-sigv4-proxy"),
            f"--port=127.0.0.1:{port}",
            "--name=sagemaker-mlflow",
            "--region=eu-west-1",
            f"--host={setup.upstream_address}",
            f"--upstream-url-scheme={setup.upstream.partition(':')[0]}",
            f"--custom-headers=x-mlflow-sm-tracking-server-arn={TARGET_ARN}",
        ],
        port=port,
        folder=setup.folder,
        on=setup.cores,
        env={"SSL_CERT_FILE": str(setup.chain.root)},
    )


def nginx(setup: ServerSetup) -> AbstractContextManager[Server]:
    """nginx with verified keep-alive connections, without signing: the upper limit of one core."""
    port = free_port()
    http = """
    upstream behind { server ADDRESS; keepalive 256; keepalive_requests 1000000; }
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass https://behind;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host ADDRESS;
            proxy_set_header Authorization "";
            proxy_ssl_verify on;
            proxy_ssl_verify_depth 2;
            proxy_ssl_trusted_certificate ROOT;
            proxy_ssl_name localhost;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
        }
    }"""
    http = http.replace("ADDRESS", setup.upstream_address).replace("ROOT", str(setup.chain.root))
    return run_nginx("nginx", http.replace("PORT", str(port)), port, setup.folder, setup.cores)


def tls_upstream(folder: Path, chain: Chain, cores: set[int]) -> AbstractContextManager[Server]:
    """The fake SageMaker of the benchmark: TLS, HTTP/1.1, always the same response of 600 bytes."""
    port = free_port()
    http = """
    server {
        listen 127.0.0.1:PORT ssl;
        ssl_certificate CERTIFICATE;
        ssl_certificate_key KEY;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / { default_type application/json; return 200 'ANSWER'; }
    }"""
    http = http.replace("CERTIFICATE", str(chain.certificate)).replace("KEY", str(chain.key))
    http = http.replace("ANSWER", ANSWER).replace("PORT", str(port))
    return run_nginx("upstream", http, port, folder, cores)


def run_nginx(name: str, http: str, port: int, folder: Path, cores: set[int]) -> AbstractContextManager[Server]:
    """nginx with one worker, without the machine's configuration."""
    home = folder / name
    home.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"    {kind}_temp_path {home}/{kind};" for kind in kinds)
    # As root, nginx would run its worker as a user without access to this folder.
    user = f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};" if os.getuid() == 0 else ""
    (home / "nginx.conf").write_text(f"""
{user}
daemon off;
worker_processes 1;
pid {home}/pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
{paths}
{http}
}}
""")
    command = [need("nginx"), "-p", str(home), "-e", "stderr", "-c", str(home / "nginx.conf")]
    return serving(name, command, port=port, folder=folder, on=cores)


# MLflow's response to runs/get, padded to 600 bytes.
ANSWER = (
    '{"run":{"info":{"run_uuid":"0a1b2c3d4e5f60718293a4b5c6d7e8f9","experiment_id":"7","run_name":"calm-crane-318",'
    '"user_id":"bench","status":"RUNNING","start_time":1767225600000,'
    '"artifact_uri":"s3://example-bucket/mlflow/7/0a1b2c3d4e5f60718293a4b5c6d7e8f9/artifacts",'
    '"lifecycle_stage":"active","run_id":"0a1b2c3d4e5f60718293a4b5c6d7e8f9"},"data":{'
    '"metrics":[{"key":"loss","value":0.25,"timestamp":1767225601000,"step":10}],'
    '"params":[{"key":"learning_rate","value":"0.001"}],'
    '"tags":[{"key":"mlflow.user","value":"bench"},{"key":"mlflow.source.type","value":"LOCAL"}]}}}'
).ljust(600)
