# Magasin. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOCALFAAS := $(PY) -m localfaas

export PYTHONDONTWRITEBYTECODE := 1

##@ Run
up: $(VENV)/.ready ## start everything (again, if need be): platform, functions, demonstration data
	@$(LOCALFAAS) up
down: $(VENV)/.ready ## stop everything; data stays
	@$(LOCALFAAS) down
status: $(VENV)/.ready ## every process and replica
	@$(LOCALFAAS) status
doctor: $(VENV)/.ready ## what is wrong with this installation, and what to do next
	@$(LOCALFAAS) doctor
demo: $(VENV)/.ready ## a guided tour of the running shop, in this terminal: scene=kill seconds=12 (fast=1, more="--help")
	@$(PY) -m tests.load.demo $(if $(scene),--scene $(scene)) $(if $(seconds),--seconds $(seconds)) $(if $(fast),--fast) $(more)
logs: $(VENV)/.ready ## follow logs: f=cart, f=postgres, ...; or show one request in all of them: request=ID
	@$(LOCALFAAS) logs $(if $(request),--request="$(request)",--follow $(or $(f),$(error which function, or which request? make logs f=cart, make logs request=ID)))
scale: $(VENV)/.ready ## set replicas: f=cart n=4
	@$(LOCALFAAS) scale $(or $(f),$(error which function? make scale f=cart n=4)) $(or $(n),$(error how many replicas? make scale f=cart n=4))
deploy: $(VENV)/.ready ## build and deploy stack.yml (f=cart for one function)
	@$(LOCALFAAS) deploy $(f)
edge-reload: $(VENV)/.ready ## give the edge the present kong/kong.yml, and show what changed
	@$(LOCALFAAS) edge-reload
backup: $(VENV)/.ready ## copy the whole database into a new folder, while everything runs: to=FOLDER (.local/backups/<time>)
	@$(LOCALFAAS) backup $(if $(to),"$(to)")
restore: $(VENV)/.ready ## put a backup in the place of the database, which is deleted; after make down: from=FOLDER
	@$(LOCALFAAS) restore --yes $(if $(from),"$(from)",$(error which backup? make restore from=.local/backups/...))
reset: $(VENV)/.ready ## stop everything and delete all data
	@$(LOCALFAAS) reset --yes

##@ On Kubernetes
cluster-up: $(VENV)/.ready ## start everything on a cluster, kind's or CLUSTER=existing: docs/kubernetes.md
	@$(PY) -m deploy.kubernetes up
cluster-status: $(VENV)/.ready ## every workload on the cluster, and how to reach it
	@$(PY) -m deploy.kubernetes status
cluster-test: $(VENV)/.ready ## the end-to-end suite against the cluster's edge, where it trades: EDGE_URL=… if it is not kind's
	@$(PY) -m deploy.kubernetes test
cluster-down: $(VENV)/.ready ## delete the kind cluster, or what is ours on KUBE_CONTEXT
	@$(PY) -m deploy.kubernetes down

##@ Work with it
new: $(VENV)/.ready ## make a function from the template: f=hello
	@$(LOCALFAAS) new $(or $(f),$(error what name? make new f=hello))
import: $(VENV)/.ready ## load a catalogue and its opening stock in the Online Retail format, then its sales: file=PATH, what=sales
	@$(PY) -m db.seed.online_retail $(if $(file),"$(file)",$(error which file? make import file=online-retail.csv)) \
	  $(if $(what),--what $(what)) $(if $(store),--store $(store))
token: $(VENV)/.ready ## print a development token: role=hq (customer, staff, hq)
	@$(PY) -m db.seed.token --role $(or $(role),hq) $(if $(store),--store $(store))
psql: $(VENV)/.ready ## ask the database as one function's role: as=inventory, q="SELECT ..." for one question
	@$(PY) -m localfaas.psql $(as) $(if $(q),-c "$(q)")
rules: $(VENV)/.ready ## check Prometheus' rules and run their tests
	@$(PY) -m pytest tests/contract/test_prometheus_rules.py
rotate-keys: $(VENV)/.ready ## replace the key that signs users' tokens, while everything runs: keep=20m
	@$(PY) -m db.seed.rotate_keys $(if $(keep),--keep $(keep))

##@ Measure
bench-memory: $(VENV)/.ready ## memory of the whole platform, by process
	@$(PY) -m benchmarks.memory
bench-hot-sku: $(VENV)/.ready ## reservations a second of one SKU, against two other ways
	@$(PY) -m benchmarks.hot_sku
bench-reports: $(VENV)/.ready ## every report and a sale at 10 k, 100 k and 1 M sale lines, on a platform of its own
	@$(PY) -m benchmarks.reports
bench-sign-in: $(VENV)/.ready ## reads beside five times as many sign-ins as can be hashed
	@$(PY) -m benchmarks.sign_in
bench-checkout: $(VENV)/.ready ## a checkout's time, parts, rate, and what idempotency and stored steps cost, on a platform of its own
	@$(PY) -m benchmarks.checkout
bench-telemetry: $(VENV)/.ready ## what metrics and log lines cost a read and a checkout, on a platform of its own
	@$(PY) -m benchmarks.telemetry_cost
bench-traces: $(VENV)/.ready ## what spans cost when they are on, and when they are off: before=PATH, a checkout of the project without them
	@$(PY) -m benchmarks.traces_cost $(if $(before),--before "$(before)")
edge-hostile: $(VENV)/.ready ## slow, large, many and ambiguous requests to an edge of its own, and what they cost a good client
	@$(PY) -m benchmarks.edge_hostile

load: $(VENV)/.ready ## load the shop by k6: journey=shop shape=smoke (tests/load/README.md)
	@$(PY) -m tests.load $(if $(journey),--journey $(journey)) $(if $(shape),--shape $(shape))
load-compare: $(VENV)/.ready ## the same requests direct, through the gateway and through the edge
	@$(PY) -m tests.load --compare
replay: $(VENV)/.ready ## sell at a till what a file in the Online Retail format sold, at its real times: file=PATH speed=600 day=2010-12-01
	@$(PY) -m tests.load.replay $(if $(file),"$(file)",$(error which file? make replay file=online-retail.csv)) \
	  $(if $(speed),--speed $(speed)) $(if $(day),--day $(day)) $(more)
jmeter: $(VENV)/.ready ## load the shop by JMeter, through Maven: journey=shop shape=smoke
	@$(PY) -m tests.load.jmeter run $(if $(journey),--journey $(journey)) $(if $(shape),--shape $(shape))

experiment: $(VENV)/.ready ## ask a question that takes minutes: name=ladder (full=1 draft=1 resume=FOLDER, more="--help")
	@$(PY) -m tests.experiments $(or $(name),list) $(if $(full),--full) $(if $(draft),--draft) \
	  $(if $(resume),--resume "$(resume)") $(more)
experiments: $(VENV)/.ready ## all of them, in a short form: full=1 for the long one, anew=1 to make again what was made today
	@$(PY) -m tests.experiments all $(if $(full),--full) $(if $(anew),--anew)
experiment-compare: $(VENV)/.ready ## whether one run is better than another: a=FOLDER b=FOLDER
	@$(PY) -m tests.experiments compare $(if $(and $(a),$(b)),"$(a)" "$(b)",$(error which folders? make experiment-compare a=FOLDER b=FOLDER))

##@ Develop
screenshots: $(VENV)/.ready ## pictures of every dashboard, after some minutes of trade at a shop of its own, into docs/images
	@SCREENSHOTS=docs/images LOAD_SECONDS=$(or $(seconds),180) $(PY) -m pytest tests/e2e/test_dashboards_page.py --timeout 600
test: $(VENV)/.ready ## all tests, beside a running platform
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder
image-test: $(VENV)/.ready ## what images hold: every layout in a clean environment; as root with buildah and debootstrap, one really built: base=DIR
	@IMAGE_TEST=1 IMAGE_BASE="$(base)" $(PY) -m pytest -rs tests/images --timeout 900
crash-points: $(VENV)/.ready ## the points at which a checkout can be killed
	@$(PY) -m functions.checkout.points
crash-test: $(VENV)/.ready ## kill -9 a checkout at every point, once and twice in a row, runs=10 times each
	@CRASH_RUNS=$(or $(runs),10) $(PY) -m pytest tests/integration/test_checkout_crashes.py -n 2 --dist load --timeout 900
verify: $(VENV)/.ready ## faults, overload, time, races, crashes, leaks, data and roles against their goals, in one table: more="--only trust" (draft=1 anew=1)
	@$(PY) -m tests.verify $(if $(draft),--draft) $(if $(anew),--anew) $(more)
race-test: $(VENV)/.ready ## histories of stock and carts, and 64 clients at one cart and at one product's stock, rounds=204
	@RACE_ROUNDS=$(or $(rounds),204) $(PY) -m pytest tests/integration/test_histories.py tests/integration/test_cart_races.py tests/integration/test_inventory_races.py --timeout 900
verify-machines: $(VENV)/.ready ## long walks of the state machines, at random: runs=300
	@VERIFY=1 VERIFY_RUNS=$(or $(runs),300) $(PY) -m pytest tests/integration/test_*_machine.py -n 3 --dist loadfile --timeout 7200
leak-test: $(VENV)/.ready ## scale, deploy, up and down again and again, some half a minute each: cycles=200
	@LEAK_CYCLES=$(or $(cycles),200) $(PY) -m pytest tests/e2e/test_leaks.py -n0 --timeout 7200
check: $(VENV)/.ready ## what CI runs: lint, types, tests
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/bandit -q -c pyproject.toml -r functions localfaas db deploy benchmarks monitoring template
	@$(MAKE) --no-print-directory test
audit: $(VENV)/.ready ## known faults of the packages in the lock file, as PyPI tells them
	@$(VENV)/bin/uvx pip-audit -r requirements.lock --require-hashes --disable-pip --strict
session: $(VENV)/.ready ## record make up and a first purchase into docs/images/session.svg; ports 8000 and up must be free
	@$(PY) -m docs.source session
format: $(VENV)/.ready ## format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .
reference: $(VENV)/.ready ## write docs/settings.md, docs/ports.md and docs/api.md from the code
	@$(PY) -m docs.source reference
diagrams: $(VENV)/.ready ## draw what changed in docs/diagrams
	@$(PY) -m docs.source diagrams
docs: $(VENV)/.ready ## build the documentation as a site, below .local/site
	@$(PY) -m docs.source site
dashboards: $(VENV)/.ready ## write the dashboards' JSON from monitoring/grafana/source
	@$(PY) -m monitoring.grafana.source
lock: $(VENV)/.ready ## resolve requirements.in into requirements.lock, with hashes
	@$(VENV)/bin/uv pip compile -q --upgrade --generate-hashes --python-version 3.11 --universal \
	  --no-emit-find-links --no-emit-index-url --no-header requirements.in -o requirements.lock
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv alone is installed by pip, checked against the same lock file; uv then installs the rest many times faster.
$(VENV)/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing into $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "Python's venv module is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	@awk '/^[^ #]/ {wanted = /^uv==/} wanted' requirements.lock > $(VENV)/uv.lock
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(VENV)/bin/uv pip sync -q --require-hashes --python $(PY) requirements.lock \
	  || { echo "uv could not install; trying pip" >&2; \
	       $(PY) -m pip install --disable-pip-version-check --require-hashes -r requirements.lock; }
	@touch $@

HASH := \#
.PHONY: $(shell awk -F: '/^[a-z-]+:.*$(HASH)$(HASH) / {print $$1}' Makefile)
