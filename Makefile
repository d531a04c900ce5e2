# All generated files are in .local/, which git ignores; `make clean` removes it.
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8080
STACK ?= dev
FORMAT ?= text
HERE := .local
VENV := $(HERE)/venv
RUN := $(VENV)/bin/python
UV := $(HERE)/uv/bin/uv

# Caches are in the project, too. uv uses the installed Python and never downloads one.
export UV_CACHE_DIR := $(CURDIR)/$(HERE)/cache/uv
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/$(VENV)
export PIP_NO_CACHE_DIR := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Write compiled modules, which make later starts fast.
export PYTHONDONTWRITEBYTECODE :=
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/$(HERE)/hypothesis
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(HERE)/cache/pyc

.DEFAULT_GOAL := help
.PHONY: help up token test verify preview preflight leftovers lint format types lock bench conformance coverage fault-injection fuzz snapshots docs site sbom audit release clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

up: $(HERE)/local.stamp  ## run MLflow behind the proxy on this machine (PORT=8080); Ctrl-C stops it
	@exec $(RUN) -m local --port $(PORT)

verify: $(HERE)/local.stamp  ## test a deployment as a client: make verify URL=... TOKEN=... (FORM=form.md)
	@exec $(RUN) -m verify

token: $(HERE)/local.stamp  ## manage the tokens of `make up`: make token ARGS="list" (see also ARGS="new --help")
	$(if $(ARGS),,$(error ARGS is missing: make token ARGS="list", ARGS="new --name ci --role editor" or ARGS="revoke ci"))
	@mkdir -p $(HERE)/data
	@exec $(RUN) -m proxy_app token $(ARGS) --file $(HERE)/data/tokens.json

preview: $(HERE)/program.stamp  ## preview a stack without a cloud account (STACK=dev FORMAT=text|mermaid|json)
	@exec $(RUN) -m preview --stack "$(STACK)" --format "$(FORMAT)"

preflight: $(HERE)/preflight.stamp  ## find what would make `pulumi up` fail, read-only (STACK=dev FORMAT=text|json)
	@exec $(RUN) -m preflight --stack "$(STACK)" --format "$(FORMAT)"

leftovers: $(HERE)/preflight.stamp  ## find what a destroyed or half-made stack left, read-only (STACK=dev FORMAT=text|json)
	@exec $(RUN) -m leftovers --stack "$(STACK)" --format "$(FORMAT)"

# All tests of a file run in the same process, since they share servers. Tests wait for servers a third of the time: one
# process more than there are cores; not in CI, where containers run beside them.
WORKERS = $(if $(CI),auto,$(shell expr $$(getconf _NPROCESSORS_ONLN) + 1))
ALL_TESTS = --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --durations=10 --durations-min=1
test: $(HERE)/dev.stamp $(HERE)/mlflow2.stamp $(VENDORED)  ## run the tests (ARGS=... are passed to pytest)
	@exec $(RUN) -m pytest $(if $(ARGS),$(ARGS),$(ALL_TESTS))

lint: $(HERE)/dev.stamp  ## check style and formatting with ruff
	@$(VENV)/bin/ruff check && $(VENV)/bin/ruff format --check

format: $(HERE)/dev.stamp  ## fix style and formatting with ruff
	@$(VENV)/bin/ruff check --fix-only && $(VENV)/bin/ruff format

types: $(HERE)/dev.stamp  ## check types with pyright in strict mode
	@$(VENV)/bin/pyright

# Child processes, such as the command line, are not measured.
coverage: $(HERE)/dev.stamp  ## measure the tests' coverage of the proxy; fails below 95 %
	@$(RUN) -m coverage run -m pytest -q tests/proxy_app
	@$(RUN) -m coverage report --include "proxy_app/*" --fail-under 95

bench: $(HERE)/dev.stamp  ## benchmark throughput, memory and signing against other proxies (ARGS=...)
	@exec $(RUN) -m bench $(ARGS)

conformance: $(HERE)/dev.stamp  ## run MLflow's own REST tests through the proxy (MLFLOW=checkout of its repository)
	$(if $(MLFLOW),,$(error MLFLOW is missing: make conformance MLFLOW=../mlflow))
	@exec $(RUN) -m conformance "$(MLFLOW)" $(ARGS)

fault-injection: $(HERE)/dev.stamp  ## fail each create, update and delete once in the real engine; takes hours (ARGS="--stack dev --every 10")
	@ENGINE_TESTS=all $(RUN) -m pytest -q tests/engine
	@exec $(RUN) -m tests.engine.fault_injection $(ARGS)

fuzz: $(HERE)/dev.stamp  ## send random bytes and requests to the proxy (ARGS="--seconds 600 --seed 7")
	@exec $(RUN) -m tests.fuzz $(ARGS)

snapshots: $(HERE)/dev.stamp  ## update the snapshots of the stacks' resources; review the diff
	@SNAPSHOTS=write $(RUN) -m pytest -q tests/components/test_snapshots.py

docs: $(HERE)/dev.stamp  ## write the generated pages of docs/
	@$(RUN) -c 'from proxy_app.settings import Settings; print(Settings.markdown(), end="")' >docs/settings.md
	@$(RUN) -c 'from mlflow_app.settings import Settings; print(Settings.markdown(), end="")' >docs/mlflow-settings.md
	@$(RUN) -c 'from components.args_module import write; write()'
	@$(RUN) -c 'from components.settings_page import aws_settings; print(aws_settings(), end="")' >docs/aws-settings.md
	@$(RUN) -c 'from components.settings_page import gcp_settings; print(gcp_settings(), end="")' >docs/gcp-settings.md
	@$(RUN) -m preview.diagrams_page
	@$(RUN) -c 'from preflight.gcp.permissions import deployer_role; print(deployer_role(), end="")' >docs/gcp-deployer-role.yaml
	@$(RUN) -m tests.preflight.docs_page

# Pages load nothing from elsewhere, so the scripts that they need come with them.
VENDORED := $(HERE)/website/vendor/mermaid.min.js
site: $(HERE)/docs.stamp $(VENDORED)  ## build the documentation as a website in .local/site; warnings fail
	@NO_MKDOCS_2_WARNING=true $(RUN) -m mkdocs build --strict
	@echo "The site: $(HERE)/site/index.html"

$(VENDORED): website/vendor.py $(HERE)/docs.stamp
	@echo "Setting up: the scripts of the documentation's pages" >&2
	@$(RUN) -m website.vendor

LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
lock: $(UV)  ## update the requirement files (UPGRADE=--upgrade for newer releases)
	$(LOCK) $(UPGRADE) --group proxy --output-file proxy_app/requirements.txt
	$(LOCK) $(UPGRADE) --group program --constraint proxy_app/requirements.txt --output-file requirements.txt
	$(LOCK) $(UPGRADE) --group preflight --constraint proxy_app/requirements.txt --constraint requirements.txt \
		--output-file requirements/preflight.txt
	$(LOCK) $(UPGRADE) --group local --constraint requirements/preflight.txt --constraint proxy_app/requirements.txt \
		--output-file requirements/local.txt
	$(LOCK) $(UPGRADE) --group mlflow_app --override mlflow_app/excluded_packages.txt --constraint requirements/local.txt \
		--output-file mlflow_app/requirements.txt
	$(LOCK) $(UPGRADE) --group docs --constraint requirements/local.txt --output-file requirements/docs.txt
	$(LOCK) $(UPGRADE) --group dev --constraint requirements/local.txt --constraint requirements.txt \
		--constraint mlflow_app/requirements.txt --constraint requirements/docs.txt --output-file requirements/dev.txt
	$(LOCK) $(UPGRADE) --group mlflow2 --output-file requirements/mlflow2.txt
	$(LOCK) $(UPGRADE) --output-file requirements/uv.txt requirements/uv.in

# What is installed into each image, as scripts: uv knows no other input that pins every package.
IMAGES := $(HERE)/sbom/proxy_app.py $(HERE)/sbom/mlflow_app.py
$(HERE)/sbom/%.py: %/requirements.txt .ci/locked-script
	@mkdir -p $(HERE)/sbom
	@.ci/locked-script $< $(wildcard $*/excluded_packages.txt) >$@

sbom: $(UV) $(IMAGES)  ## write a software bill of materials (CycloneDX) of each image's packages to .local/sbom
	@for image in $(IMAGES:.py=); do $(UV) export --quiet --script $$image.py --format cyclonedx1.5 >$$image.cdx.json \
		&& echo $$image.cdx.json || exit 1; done

audit: $(UV) $(IMAGES)  ## look for known vulnerabilities of each image's packages (asks OSV.dev)
	@for image in $(IMAGES); do $(UV) audit --script $$image || exit 1; done

release:  ## tag this commit with the version in pyproject.toml, after checks; pushes nothing
	@.ci/release

clean:  ## remove all generated files, including the data of `make up`
	@$(PYTHON) -c 'import fcntl, sys; fcntl.flock(open(sys.argv[1], "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)' $(HERE)/up.lock 2>/dev/null \
		|| [ ! -e $(HERE)/up.lock ] || { echo "make up is running; stop it first, since this removes its data" >&2; exit 1; }
	rm -rf $(HERE)
	find . -name __pycache__ -prune -exec rm -rf {} +

$(UV): requirements/uv.txt
	@echo "Setting up: uv, the package installer" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is older than Python 3.11; use make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv --clear $(HERE)/uv
	@$(HERE)/uv/bin/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	@touch $@

$(RUN): $(UV)
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	@touch $@

# MLflow 2 and MLflow 3 cannot be installed in the same environment.
$(HERE)/mlflow2.stamp: requirements/mlflow2.txt $(UV)
	@echo "Setting up: the packages of $<" >&2
	@$(UV) venv --quiet --clear --python $(PYTHON) $(HERE)/mlflow2
	@$(UV) pip install --python $(HERE)/mlflow2/bin/python --require-hashes --requirement $<
	@touch $@

# The packages that `pulumi install` installs.
$(HERE)/program.stamp: requirements.txt $(RUN)
	@echo "Setting up: the packages of $<" >&2
	@$(UV) pip install --quiet --python $(RUN) --require-hashes --requirement $<
	@touch $@

# The stamp is written last, so that an interrupted installation is repeated.
$(HERE)/%.stamp: requirements/%.txt $(RUN)
	@echo "Setting up: the packages of $<" >&2
	@$(UV) pip install --python $(RUN) --require-hashes --requirement $<
	@touch $@
