"""The package as a wheel, unpacked in a folder for PYTHONPATH."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MLFLOW2 = ROOT / ".local" / "mlflow2" / "bin" / "python"


def install(folder: Path) -> Path:
    """Build the wheel without a package index and unpack it in `folder`/site, which is returned."""
    # -P: modules of this project must not shadow others.
    build = (sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    subprocess.run(build, cwd=ROOT / "mlflow_iap", check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"
