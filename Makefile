# What a person types. Each target installs what it needs by itself, on Debian or Ubuntu with Python 3.11 or later.

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lint bench soak mutation docs

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## make .venv with exactly the versions of requirements.lock
	.ci/setup

demo: ## run the demo on real Prometheus and Alertmanager
	examples/demo/run

test: ## run all tests, against real parts
	tests/run

quick: setup ## run the tests that need no real parts, in under a minute
	tests/quick

lint: setup ## style, types, and the direction of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup ## measure, each figure as a ratio against a bare program in the same run
	set -e; for bench in receiver storm store evaluator daemon rehearsal backtest history; do .venv/bin/python tests/bench/$$bench.py; done

soak: setup ## live through faults for FOR=15m, and say what grew
	PYTHONPATH=tests .venv/bin/python -m soak --for $(or $(FOR),15m)

mutation: setup ## take promises out of the code one by one, and say which the tests do not miss
	PYTHONPATH=tests .venv/bin/python -m mutation

docs: setup ## write the generated pages of docs/ and rules/ anew
	.venv/bin/python docs/generate.py
