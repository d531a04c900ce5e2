"""Defaults of MLflow's environment variables, without importing MLflow.

An import would configure logging and telemetry for all tests of the process.
"""

import importlib.util
import re
from pathlib import Path


def default_of(variable: str) -> int:
    """The default of a variable that is a whole number. Raises ValueError if MLflow has none."""
    spec = importlib.util.find_spec("mlflow")
    if spec is None or spec.origin is None:
        raise ValueError("mlflow is not installed")
    source = Path(spec.origin).with_name("environment_variables.py").read_text(encoding="utf-8")
    found = re.search(rf'^{variable} = _EnvironmentVariable\(\s*"{variable}", int, (\d+)\s*\)', source, re.MULTILINE)
    if found is None:
        raise ValueError(f"MLflow has no variable {variable} with a whole number as its default")
    return int(found[1])
