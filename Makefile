# Every target fetches what it needs: uv, a CPython, the packages of uv.lock.
SHELL := /bin/bash
RUN := . .ci/env.sh &&
DUMMY := set -a && . .ci/check.env && set +a &&

.PHONY: help demo demo-reset test test-fast test-versions check format docs bench-provisioning bench-gate bench-snapshot bench-pages bench-policy

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

demo demo-reset: export STINT_DEMO_KEYCLOAK := $(or $(KEYCLOAK),$(STINT_DEMO_KEYCLOAK))

demo: ## all of it with real parts, on this machine, until Ctrl-C; KEYCLOAK=1: on a real Keycloak
	@$(RUN) exec "$$VENV/bin/python" -m portal.demo

demo-reset: ## empty the demo's data; KEYCLOAK=1: of the one on Keycloak
	@$(RUN) exec "$$VENV/bin/python" -m portal.demo reset

test: ## the tests, on a real PostgreSQL, Prefect and browser
	@$(RUN) exec "$$VENV/bin/pytest" -n 2 --dist loadgroup

test-fast: ## those of the tests that start no program but PostgreSQL, with fewer examples
	@$(RUN) exec "$$VENV/bin/pytest" -n 2 --dist loadgroup --fast

test-versions: ## on other versions of the parts; ARGS="prefect-3.6.14 postgres-15.15.0": on these
	@$(RUN) exec "$$VENV/bin/python" -m tests.versions $(ARGS)

bench-gate: ## what the gate costs and how soon it refuses, on this machine; NGINX=path: beside nginx
	@$(RUN) exec "$$VENV/bin/python" -m tests.bench.gate

bench-snapshot: ## the gate with 100,000 tokens: its start, memory, one change, how late its loop is
	@$(RUN) exec "$$VENV/bin/python" -m tests.bench.snapshot

check: ## format, lint, types, import contracts, migrations, tests
	@$(RUN) $(DUMMY) PATH="$$VENV/bin:$$PATH" && ruff format --check . && ruff check . && mypy && lint-imports
	@$(MAKE) test

format: ## write the code as the formatter has it
	@$(RUN) PATH="$$VENV/bin:$$PATH" && ruff format . && ruff check --fix .

docs: ## make docs/settings.md from portal/env.py
	@$(RUN) "$$VENV/bin/python" -m portal.env > docs/settings.md

bench-provisioning: ## how soon roles come and go at a real Keycloak, beside the bare calls
	@$(RUN) exec "$$VENV/bin/python" -m tests.bench.provisioning $(ARGS)

bench-pages: ## what each page costs at a million grants; ARGS="--grants 20000 --keep DIR --only catalog"
	@$(RUN) exec "$$VENV/bin/python" -m tests.bench.pages $(ARGS)

bench-policy: ## what judging by a long policy costs, beside a walk through its lines
	@$(RUN) exec "$$VENV/bin/python" -m tests.bench.policy
