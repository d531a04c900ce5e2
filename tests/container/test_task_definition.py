"""The task definition's container in front of the fake SageMaker, and a rolling update under load."""

import asyncio
import contextlib
import json
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import boto3
import pytest

from components import proxy_environment
from components.aws.tokens import first_document
from local.fake_sagemaker import FakeSageMaker
from tests.components.aws.helpers import IMAGE_URI, container_definition, record_stack
from tests.container.ecs import docker_flags
from tests.container.engine import Container, Engine
from tests.container.proxy import status
from tests.doubles.fixtures import Server, StartFakeSageMaker
from tests.doubles.running_proxy import wait_until

TARGET = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team"
STACK: dict[str, Any] = {"tracking": {"kind": "server", "targetArn": TARGET}, "image": {"imageUri": IMAGE_URI}}
CA_FILE = "/ca.pem"
READ = "/api/2.0/mlflow/experiments/get?experiment_id=0"
# A read by POST: aiohttp's client, like a load balancer, does not send it a second time.
SEARCH = "/api/2.0/mlflow/experiments/search"
SLOW = "/api/2.0/mlflow/runs/search"
WORKERS = 12


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    """The container definition of a stack with an existing tracking server, without MLflow's UI."""
    return container_definition(record_stack({**STACK, "ui": {"enabled": False}}))


@pytest.fixture(scope="module")
def definition_with_ui() -> tuple[dict[str, Any], int]:
    """The same with MLflow's UI, and the memory of the task in MiB."""
    graph = record_stack(STACK)
    (task,) = graph.of("aws:ecs/taskDefinition:TaskDefinition")
    return container_definition(graph), int(task.inputs["memory"])


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in moto's Secrets Manager, with the initial document of the components."""

    arn: str
    token: str
    endpoint: str


@pytest.fixture(scope="module")
def token_secret(s3: Server) -> Secret:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    token = f"{proxy_environment.TOKEN_PREFIX}_{''.join(secrets.choice(letters) for _ in range(8))}_"
    token += "".join(secrets.choice(letters + "_-") for _ in range(43))
    untyped: Any = boto3
    client = untyped.client(
        "secretsmanager",
        endpoint_url=s3.url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    document = first_document(token, 1, datetime.now(UTC))
    created = client.create_secret(Name=f"proxy-tokens-{time.time_ns()}", SecretString=document)
    return Secret(created["ARN"], token, s3.url)


@dataclass(frozen=True, slots=True)
class Task:
    """A container of the task definition."""

    container: Container
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


StartTask = Callable[..., contextlib.AbstractAsyncContextManager[Task]]


@pytest.fixture
async def fake_sagemaker(start_fake_sagemaker: StartFakeSageMaker) -> FakeSageMaker:
    return await start_fake_sagemaker(target_arn=TARGET)


@pytest.fixture(scope="module")
def health_check() -> dict[str, Any]:
    """The load balancer's health check of the tasks."""
    (target_group,) = record_stack().of("aws:lb/targetGroup:TargetGroup")
    return target_group.inputs["healthCheck"]


@pytest.fixture
def start_task(
    engine: Engine, image: str, definition: dict[str, Any], fake_sagemaker: FakeSageMaker, token_secret: Secret
) -> StartTask:
    @contextlib.asynccontextmanager
    async def start(
        *, starts: bool = True, image: str = image, definition: dict[str, Any] = definition, memory: int | None = None
    ) -> AsyncGenerator[Task]:
        port = _free_port()
        cloud = {
            # In AWS each task has its own address; here they share one.
            proxy_environment.LISTEN: f"0.0.0.0:{port}",
            "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0",
            "MLFLOW_PROXY_TARGET_ENDPOINT": fake_sagemaker.endpoint,
            proxy_environment.TOKENS_SECRET: token_secret.arn,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": token_secret.endpoint,
            **fake_sagemaker.environ,
            "AWS_CA_BUNDLE": CA_FILE,
        }
        flags = [*docker_flags(definition, cloud), "--volume", f"{fake_sagemaker.ca_file}:{CA_FILE}:ro"]
        flags += ["--memory", f"{memory}m"] if memory else []
        running = engine.started(image, *flags)
        container = await asyncio.to_thread(running.__enter__)
        try:
            # In a thread: the fake SageMaker runs in this event loop.
            # Until then, the load balancer sends it no requests.
            waiting_for = proxy_environment.STARTED if starts else proxy_environment.HEALTH
            await asyncio.to_thread(container.wait_until, lambda _: status(port, waiting_for) == 200)
            yield Task(container, port)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)

    return start


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# --- A single task


async def test_task_serves_with_the_settings_and_token_of_the_components(
    start_task: StartTask, fake_sagemaker: FakeSageMaker, token_secret: Secret
) -> None:
    async with start_task() as task:
        assert await asyncio.to_thread(status, task.port, READ, token_secret.token) == 200
        assert await asyncio.to_thread(status, task.port, READ) == 401
        assert await asyncio.to_thread(status, task.port, proxy_environment.HEALTH) == 200
        assert fake_sagemaker.recorded_requests


async def test_restrictions_of_the_definition_apply(start_task: StartTask, definition: dict[str, Any]) -> None:
    async with start_task() as task:
        description = await asyncio.to_thread(task.container.engine.inspect, task.container.name)
        text = await _run_python(task, "print(open('/proc/1/status').read(), open('/proc/1/limits').read())")
        first = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        uid, gid = definition["user"].split(":")
        assert first["Uid"].split() == [uid] * 4
        assert first["Gid"].split() == [gid] * 4
        assert {int(first[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert first["NoNewPrivs"] == "1"
        (files,) = [line.split()[3:5] for line in text.splitlines() if line.startswith("Max open files")]
        assert files == [str(definition["ulimits"][0]["softLimit"])] * 2
        written = await _run_python(
            task, "import errno\ntry: open('/tmp/x', 'w')\nexcept OSError as e: print(e.errno == errno.EROFS)"
        )
        assert written.strip() == "True"
        assert description["HostConfig"]["Privileged"] is False


async def test_health_check_of_the_definition_passes(start_task: StartTask, definition: dict[str, Any]) -> None:
    async with start_task() as task:
        engine, name = task.container.engine, task.container.name
        check = (await asyncio.to_thread(engine.inspect, name))["Config"]["Healthcheck"]
        assert check["Test"] == definition["healthCheck"]["command"]
        assert check["Interval"] == definition["healthCheck"]["interval"] * 10**9
        # Raises for any exit code but 0.
        await asyncio.to_thread(engine.run, "exec", name, *definition["healthCheck"]["command"][1:])


async def test_task_that_sagemaker_rejects_never_becomes_healthy_and_logs_why(
    start_task: StartTask, fake_sagemaker: FakeSageMaker, health_check: dict[str, Any]
) -> None:
    fake_sagemaker.faults.add("deny", times=None)
    async with start_task(starts=False) as task:
        for _ in range(health_check["unhealthyThreshold"]):
            assert await asyncio.to_thread(status, task.port, health_check["path"]) == 503
            await asyncio.sleep(0.2)
        log = [json.loads(line) for line in (await asyncio.to_thread(lambda: task.container.log)).splitlines()]
        (line,) = [line for line in log if line["event"] == "not-ready"]
        assert "not authorized" in line["message"]


async def test_task_stays_healthy_when_sagemaker_fails_later(
    start_task: StartTask, fake_sagemaker: FakeSageMaker, health_check: dict[str, Any], token_secret: Secret
) -> None:
    async with start_task() as task:
        fake_sagemaker.faults.add("deny", times=None)
        assert await asyncio.to_thread(status, task.port, READ, token_secret.token) == 403
        assert await asyncio.to_thread(status, task.port, health_check["path"]) == 200


async def test_task_with_the_ui_serves_the_page_and_the_api_within_its_memory(
    start_task: StartTask,
    mlflow_image: str,
    definition_with_ui: tuple[dict[str, Any], int],
    fake_sagemaker: FakeSageMaker,
    token_secret: Secret,
) -> None:
    definition, memory = definition_with_ui
    async with start_task(image=mlflow_image, definition=definition, memory=memory) as task:
        assert await asyncio.to_thread(status, task.port, READ, token_secret.token) == 200

        async def page_is_there() -> bool:
            return await asyncio.to_thread(status, task.port, "/", token_secret.token) == 200

        await wait_until(page_is_there, within=90)
        assert await asyncio.to_thread(status, task.port, "/") == 401
        engine, name = task.container.engine, task.container.name
        await asyncio.to_thread(engine.run, "exec", name, *definition["healthCheck"]["command"][1:])
        started = time.monotonic()
        code, _ = await stopped(task)
        assert code == 0
        assert time.monotonic() - started < definition["stopTimeout"]


async def _run_python(task: Task, script: str) -> str:
    return await asyncio.to_thread(task.container.engine.run, "exec", task.container.name, "python", "-c", script)


# --- Rolling update


@dataclass(slots=True)
class LoadBalancer:
    """Sends requests to targets in turn, on persistent connections and without retries."""

    session: aiohttp.ClientSession
    token: str
    targets: list[Task] = field(default_factory=list[Task])
    succeeded: dict[int, int] = field(default_factory=dict[int, int])
    """The number of responses with 200, by port."""
    failed: list[str] = field(default_factory=list[str])
    in_flight: dict[int, int] = field(default_factory=dict[int, int])
    stop: bool = False
    _turn: int = 0

    async def work(self) -> None:
        while not self.stop:
            self._turn += 1
            await self.send(self.targets[self._turn % len(self.targets)], SEARCH)

    async def send(self, target: Task, path: str) -> None:
        port = target.port
        self.in_flight[port] = self.in_flight.get(port, 0) + 1
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            body = {"max_results": 1, "experiment_ids": ["0"]} if path == SLOW else {"max_results": 1}
            async with self.session.post(target.url + path, json=body, headers=headers) as response:
                await response.read()
                if response.status == 200:
                    self.succeeded[port] = self.succeeded.get(port, 0) + 1
                else:
                    self.failed.append(f"{response.status} from {port}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed.append(f"{error!r} from {port}")
        finally:
            self.in_flight[port] -= 1

    async def deregister(self, target: Task) -> None:
        """Remove the target and wait until it has no requests."""
        self.targets.remove(target)
        await wait_until(lambda: not self.in_flight[target.port], within=60)


@contextlib.asynccontextmanager
async def load(token: str, first: Task) -> AsyncGenerator[LoadBalancer]:
    """Sends requests continuously in this block; waits for the last responses at its end."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=180)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:
        balancer = LoadBalancer(session, token, [first])
        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(balancer.work())
            try:
                yield balancer
            finally:
                balancer.stop = True


async def stopped(task: Task) -> tuple[int, float]:
    """Stop the task as ECS does, SIGTERM and SIGKILL after a timeout; returns the exit code and the duration."""
    started = time.monotonic()
    await asyncio.to_thread(task.container.engine.run, "stop", task.container.name, timeout=120)
    return (await asyncio.to_thread(lambda: task.container.state))["ExitCode"], time.monotonic() - started


async def wait_for_responses(balancer: LoadBalancer, task: Task, count: int = 20) -> None:
    target = balancer.succeeded.get(task.port, 0) + count
    await wait_until(lambda: balancer.succeeded.get(task.port, 0) >= target, within=60)


async def test_rolling_update_under_load_fails_no_request(
    start_task: StartTask, definition: dict[str, Any], fake_sagemaker: FakeSageMaker, token_secret: Secret
) -> None:
    fake_sagemaker.faults.add("slow", times=None, delay=0.05, path=SEARCH)
    async with start_task() as old, start_task() as new, load(token_secret.token, old) as balancer:
        await wait_for_responses(balancer, old)
        balancer.targets.append(new)
        await wait_for_responses(balancer, new)
        await balancer.deregister(old)
        code, seconds = await stopped(old)
        await wait_for_responses(balancer, new)
    assert balancer.failed == []
    assert code == 0
    assert seconds < definition["stopTimeout"]


async def test_stop_before_deregistration_fails_no_request(
    start_task: StartTask, definition: dict[str, Any], fake_sagemaker: FakeSageMaker, token_secret: Secret
) -> None:
    settings = {
        variable["name"]: int(variable["value"])
        for variable in definition["environment"]
        if variable["value"].isdecimal()
    }
    drain = settings[proxy_environment.DRAIN_SECONDS]
    fake_sagemaker.faults.add("slow", times=None, delay=0.05, path=SEARCH)
    # A request that takes longer than the drain period, but ends within the grace period.
    fake_sagemaker.faults.add("slow", delay=drain + 3, path=SLOW)
    async with start_task() as old, start_task() as new, load(token_secret.token, old) as balancer:
        balancer.targets.append(new)
        await wait_for_responses(balancer, old)
        slow_request = asyncio.create_task(balancer.send(old, SLOW))
        await asyncio.sleep(0.2)
        stopping = asyncio.create_task(stopped(old))
        await asyncio.sleep(drain * 0.6)
        await wait_for_responses(balancer, old, 1)
        await balancer.deregister(old)
        code, seconds = await stopping
        await slow_request
        await wait_for_responses(balancer, new)
    assert balancer.failed == []
    assert code == 0
    assert drain < seconds < definition["stopTimeout"]
