"""`python -m local.ui_server --target-arn ARN`: MLflow's UI in front of the fake SageMaker, as in MLflow's image.

AWS's plugin finds the fake by the environment (FakeSageMaker.plugin_environ).
"""

import argparse
import logging
import socket

from local.startup_message import print_startup_message
from mlflow_app import ui
from mlflow_app.serving import serve

_KEEPALIVE_SECONDS = 14.0  # of idle connections: longer than the proxy keeps them


def main() -> None:
    """Listen on a free port of 127.0.0.1, report it, and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.ui_server")
    parser.add_argument("--target-arn", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Not listening yet: until MLflow is imported, the proxy answers that the UI does not respond.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        print_startup_message(f"http://127.0.0.1:{port}")
        serve(ui.create_application(arguments.target_arn, port), listener, _KEEPALIVE_SECONDS)


main()
