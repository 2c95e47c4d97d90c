.DEFAULT_GOAL := help
.PHONY: help install format lint types imports docs test slow check

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

install: ## install the package, editable, with what tests and linters need
	pip install -e ".[test,dev,docs]"

format: ## rewrite files: import order, simple fixes, layout
	ruff check --fix .
	ruff format .

lint: ## style, layout, spelling
	ruff check .
	ruff format --check .
	typos

types: ## static types
	mypy

imports: ## no import points up
	lint-imports

docs: ## build the documentation in site/
	mkdocs build --strict

test: ## the default tests
	pytest -n 2 --dist worksteal

slow: ## the tests that take minutes
	pytest -m slow

check: lint types imports docs test ## all that a change must pass
