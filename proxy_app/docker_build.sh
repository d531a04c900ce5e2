#!/bin/sh
# The build steps that proxy_app/Dockerfile and mlflow_app/Dockerfile share. Run in /app:
#   install REQUIREMENTS         create venv/ with the packages of a complete, hashed requirements file
#   keep-aws-services NAME...    delete all other service descriptions of botocore: together they are 26 MB
#   compile FOLDER...            compile Python files
#   finish PACKAGE...            in the final stage: remove the base image's installers, compile the standard library
set -eu
step=$1
shift
case $step in
  install)
    # pip gets a virtual environment of its own, outside /app, and installs into the one that is kept.
    python3 -m venv /build/pip
    python3 -m venv --without-pip venv
    /build/pip/bin/python -m pip --python venv/bin/python --disable-pip-version-check install --no-cache-dir \
      --no-compile --no-deps --only-binary :all: --require-hashes --requirement "$1"
    ;;
  keep-aws-services)
    for folder in venv/lib/python3*/site-packages/botocore/data/*/; do
      name=$(basename "$folder")
      case " $* " in *" $name "*) ;; *) rm -r "$folder" ;; esac
    done
    ;;
  compile)
    # Hash-based and unchecked: a start compiles nothing and writes nothing.
    venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$@"
    ;;
  finish)
    # pip, and the wheels from which venv would install it: the image installs nothing.
    rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/* \
      /usr/lib/python3*/ensurepip /usr/share/python-wheels
    # Official slim images have no compiled standard library. Importing every module, as root, compiles what it uses.
    python -W ignore - "$@" <<'PYTHON'
import importlib
import pkgutil
import sys

for name in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
        importlib.import_module(module.name)
PYTHON
    ;;
  *)
    echo "docker_build.sh: unknown step $step" >&2
    exit 2
    ;;
esac
