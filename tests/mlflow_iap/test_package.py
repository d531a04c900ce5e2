"""The wheel: its files, entry point and dependencies."""

import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from .installed import ROOT, install


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("wheel"))


def test_wheel_has_all_modules_and_nothing_else(site: Path) -> None:
    folder = ROOT / "mlflow_iap"
    modules = {path.relative_to(folder) for path in folder.rglob("*.py")} | {Path("py.typed")}
    installed = {path.relative_to(site / "mlflow_iap") for path in (site / "mlflow_iap").rglob("*") if path.is_file()}
    assert installed == modules
    assert {path.name for path in site.iterdir()} == {"mlflow_iap", "mlflow_iap-0.1.0.dist-info"}


def test_entry_point_is_installed_and_mlflow_is_not_required(site: Path) -> None:
    installed = Distribution.at(site / "mlflow_iap-0.1.0.dist-info")
    assert [(point.group, point.name) for point in installed.entry_points] == [("mlflow.request_auth_provider", "iap")]
    assert {Requirement(line).name for line in installed.requires or []} == {"google-auth", "requests"}
    script = (
        "import sys, mlflow_iap.plugin, mlflow_iap.__main__; print([m for m in sys.modules if m.startswith('mlflow.')])"
    )
    done = subprocess.run([sys.executable, "-B", "-c", script], cwd=site, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
