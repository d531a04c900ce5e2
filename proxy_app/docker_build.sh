#!/bin/sh
# The build steps that proxy_app/Dockerfile and mlflow_app/Dockerfile share. All of them run on the build platform, in
# /app; /target has the base image of the target platform, of which nothing is run:
#   prepare-base                 in /target: remove the installers, compile the standard library
#   install REQUIREMENTS         create venv/ with the target's packages of a complete, hashed requirements file
#   keep-aws-services NAME...    delete all other service descriptions of botocore: together they are 26 MB
#   compile FOLDER...            compile Python files
#   import NAME...               import modules, and all modules of folders; if both platforms have one CPU architecture
set -eu
step=$1
shift

# The path of Python's binary: of the build platform, and under /target of the target platform.
python=$(readlink -f "$(command -v python3)")

# The CPU architecture of a binary, as in the names of wheels.
architecture() {
  case $(od -An -tu2 -j18 -N2 "$1" | tr -d ' ') in
    62) echo x86_64 ;;
    183) echo aarch64 ;;
    *) echo "docker_build.sh: $1 is neither for amd64 nor for arm64" >&2; exit 2 ;;
  esac
}

# pip's options for packages of the target platform; none if that is the build platform.
platform_options() {
  target=$(architecture "/target$python")
  [ "$target" != "$(architecture "$python")" ] || return 0
  glibc=$(getconf GNU_LIBC_VERSION) || { echo "docker_build.sh: BASE without glibc has to be emulated" >&2; exit 2; }
  minor=${glibc##*.}
  while [ "$minor" -ge 17 ]; do
    echo "--platform manylinux_2_${minor}_$target"
    minor=$((minor - 1))
  done
  echo "--platform manylinux2014_$target"
}

case $step in
  prepare-base)
    if [ ! -x "/target$python" ]; then
      echo "docker_build.sh: BASE has $python for the build platform, and not for the target platform; use an image" \
        "with the same Python version for both" >&2
      exit 2
    fi
    # pip, and the wheels from which venv would install it: the image installs nothing.
    rm -rf /target/usr/local/bin/pip* /target/usr/local/lib/python3*/ensurepip \
      /target/usr/local/lib/python3*/site-packages/* /target/usr/lib/python3*/ensurepip /target/usr/share/python-wheels
    # Official slim images have no compiled standard library.
    "$python" -m compileall -q --invalidation-mode unchecked-hash -x '/(idlelib|lib2to3|turtledemo)/' \
      "/target$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
    ;;
  install)
    options=$(platform_options)
    # pip gets a virtual environment of its own, outside /app, and installs into the one that is kept.
    python3 -m venv /build/pip
    python3 -m venv --without-pip venv
    # shellcheck disable=SC2086 # several options
    /build/pip/bin/python -m pip --disable-pip-version-check install --no-cache-dir --no-compile --no-deps \
      --only-binary :all: $options --target "$(echo venv/lib/python3*/site-packages)" --require-hashes --requirement "$1"
    # The commands of packages name the Python of pip.
    rm -rf venv/lib/python3*/site-packages/bin
    ;;
  keep-aws-services)
    for folder in venv/lib/python3*/site-packages/botocore/data/*/; do
      name=$(basename "$folder")
      case " $* " in *" $name "*) ;; *) rm -r "$folder" ;; esac
    done
    ;;
  compile)
    # Hash-based and unchecked: a start compiles nothing and writes nothing.
    "$python" -m compileall -q --invalidation-mode unchecked-hash "$@"
    ;;
  import)
    if [ "$(architecture "/target$python")" != "$(architecture "$python")" ]; then
      echo "docker_build.sh: not imported, because the build platform has another CPU architecture: $*"
      exit
    fi
    venv/bin/python -W ignore - "$@" <<'PYTHON'
import importlib
import os
import pkgutil
import sys

for name in sys.argv[1:]:
    imported = importlib.import_module(name)
    if os.path.isdir(name):
        for module in pkgutil.walk_packages(imported.__path__, f"{name}."):
            importlib.import_module(module.name)
PYTHON
    ;;
  *)
    echo "docker_build.sh: unknown step $step" >&2
    exit 2
    ;;
esac
