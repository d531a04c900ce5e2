"""The Makefile: what a target prints before its own output."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_every_setup_line_goes_to_standard_error() -> None:
    lines = [line for line in MAKEFILE.splitlines() if "Setting up:" in line]
    assert lines
    assert [line for line in lines if not line.endswith(">&2")] == []


def test_json_of_a_fresh_clone_is_the_only_text_on_standard_output(tmp_path: Path) -> None:
    """The recipes run unchanged; uv and the environment that they call are scripts that print on standard output."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    for name in ("requirements.txt", "requirements/uv.txt", "requirements/preflight.txt"):
        (tmp_path / name).touch()
    # In place of Python: makes the files that each recipe expects, and prints what pip and uv would.
    python = tmp_path / "python"
    python.write_text(
        f"""#!{sys.executable}
import pathlib, shutil, sys
arguments = sys.argv[1:]
if arguments[:1] == ["venv"] or arguments[:2] == ["-m", "venv"]:
    bin = pathlib.Path(arguments[-1]) / "bin"
    bin.mkdir(parents=True, exist_ok=True)
    for name in ("python", "uv"):
        shutil.copy(__file__, bin / name)
elif arguments[:1] == ["-m"] and arguments[1] in ("preview", "preflight", "leftovers"):
    print("{{}}")
elif "--quiet" not in arguments and arguments[:1] != ["-c"]:
    print("Resolved 40 packages", file=sys.stderr)
"""
    )
    python.chmod(0o755)
    for target in ("preview", "preflight", "leftovers"):
        made = subprocess.run(
            ["make", target, "FORMAT=json", f"PYTHON={python}"],
            cwd=tmp_path,
            # Below `make test`, make would print the folders that it enters.
            env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout) == {}
        assert "Setting up: " in made.stderr
        shutil.rmtree(tmp_path / ".local")
    assert re.search(r"^preflight: ", MAKEFILE, re.MULTILINE)
