"""A script that fills MLflow through the proxy, as a stock client with a token: what the tests of the UI look at.

It prints the ids and the client's own links as JSON.
"""

import contextlib
import io
import json
import re
from typing import Any

import mlflow
from mlflow import MlflowClient

# The smallest PNG: one red pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db00000"
    "000049454e44ae426082"
)
EXPERIMENT, MODEL = "churn", "churn model"


def main() -> None:
    """Log three runs with metrics and artifacts, register a model, and log a trace."""
    tracking: Any = mlflow
    experiment = tracking.set_experiment(EXPERIMENT)
    links = io.StringIO()
    run_ids: list[str] = []
    for depth in (3, 4, 5):
        with contextlib.redirect_stdout(links), mlflow.start_run(run_name=f"depth-{depth}") as run:
            mlflow.log_param("depth", depth)
            for step in range(20):
                mlflow.log_metric("loss", depth / (step + depth), step=step)
            mlflow.log_metric("accuracy per depth", 0.8 + depth / 50)
            mlflow.log_text("some notes, it's 100% & <b>more</b>\n", "notes/summary + notes.txt")
            mlflow.log_text("<h1>A report</h1><script>document.title = 'script'</script>", "report.html")
            run_ids.append(run.info.run_id)
    client: Any = MlflowClient()
    with open("pixel.png", "wb") as file:  # noqa: PTH123
        file.write(PNG)
    client.log_artifact(run_ids[-1], "pixel.png", "images")
    client.create_registered_model(MODEL, description="predicts churn")
    client.create_model_version(MODEL, f"runs:/{run_ids[0]}/model", run_ids[0])
    with mlflow.start_span(name="answer") as span:
        span.set_inputs({"question": "it's 1+1?"})
        span.set_outputs({"answer": 2})
        with mlflow.start_span(name="retrieve"):
            pass
    mlflow.flush_trace_async_logging()
    [link] = re.findall(r"View run depth-5 at: (\S+)", links.getvalue())
    print(json.dumps({"experiment": experiment.experiment_id, "runs": run_ids, "link": link}))


if __name__ == "__main__":
    main()
