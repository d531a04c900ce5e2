"""The package as pip installs it: a wheel, unpacked where PYTHONPATH finds it and its entry points."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MLFLOW2 = ROOT / ".local" / "mlflow2" / "bin" / "python"


def install(folder: Path) -> Path:
    """Build it without asking a package registry, and unpack it in `folder`/site."""
    # -P: not with our modules in the place of others' of the same name.
    build = (sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    subprocess.run(build, cwd=ROOT / "mlflow_iap", check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"
