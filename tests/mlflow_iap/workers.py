"""An MLflow client that logs to one run from 20 threads, then from two forked processes."""

import os
import threading
from typing import Any

import mlflow
from mlflow import MlflowClient

tracking: Any = mlflow
tracking.set_experiment("workers")
client: Any = MlflowClient()
run = client.create_run(tracking.get_experiment_by_name("workers").experiment_id)


def log(worker: int) -> None:
    for step in range(3):
        client.log_metric(run.info.run_id, f"worker {worker}", float(step), step=step)


threads = [threading.Thread(target=log, args=(worker,)) for worker in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# Not while they run: MLflow imports modules at each request, and a fork during an import hangs, with any plugin.
children: list[int] = []
for worker in (20, 21):
    if (child := os.fork()) == 0:
        code = 1
        try:
            log(worker)
            code = 0
        finally:
            os._exit(code)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(codes, len(client.get_run(run.info.run_id).data.metrics))
