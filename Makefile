# The targets make what they need, can be run again at any time, and touch nothing outside this folder.
#   make demo   runtime only (no torch): predicts the built-in synthetic section and compares it with its truth
#   make test   everything: installs the training stack too and runs all tests
#   make quick  the tests that are not slow, in the same environment
#   make site   the documentation as a site that opens from the disk, in build/site
#   make wheel, make wheelhouse   BLEEP's own wheel; that and all it needs, for a machine without the internet
#   make sbom   the bill of materials of the runtime (CycloneDX), in build; make audit: known vulnerabilities of the locks
#   make viewer what bleep view takes from npm, where the installation had no network
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
DEMO = .venv/demo
TEST = .venv/test
SITE = .venv/site
SUPPLY = .venv/supply
INSTALL = -m pip install --quiet --disable-pip-version-check
WHEEL = -m pip wheel --quiet --disable-pip-version-check --no-deps -w wheels .
SOURCES = pyproject.toml README.md $(shell find bleep_cli train artifacts -type f -not -path '*/__pycache__/*')
LOCKS = tools/distribution/which_lock.py $(wildcard requirements/runtime-cpu-*.txt)

.PHONY: demo test quick lint site wheel wheelhouse sbom audit artifacts licences formats cli viewer clean

demo: $(DEMO)/.installed
	@echo "== bleep demo: predicting the built-in synthetic section (no torch in this environment)"
	@$(DEMO)/bin/python -m bleep_cli.cli demo -o bleep-demo

# By the lock, every file checked by its hash, where there is one for this Python and system; else the newest versions.
$(DEMO)/.installed: $(SOURCES) $(LOCKS)
	@echo "== making the runtime environment in $(DEMO)"
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed"; exit 1; }
	@test -x $(DEMO)/bin/python || "$(PYTHON)" -m venv $(DEMO) || { echo "the venv module is missing: apt-get install python3-venv"; exit 1; }
	@lock=$$($(DEMO)/bin/python tools/distribution/which_lock.py) && \
	if test -n "$$lock"; then \
		$(DEMO)/bin/python $(INSTALL) --require-hashes -r "$$lock" && $(DEMO)/bin/python $(INSTALL) --no-deps .; \
	else $(DEMO)/bin/python $(INSTALL) ".[cpu,build]"; fi
	@touch $@

test: $(TEST)/.installed
	@echo "== running all tests (real data from BLEEP_TEST_DATA, default ../shared/data; skipped where absent)"
	@$(TEST)/bin/python -m pytest -n 2 --dist loadfile

quick: $(TEST)/.installed
	@echo "== running the tests that are not slow"
	@$(TEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

$(TEST)/.installed: pyproject.toml
	@echo "== making the full environment in $(TEST): torch and all, a few minutes and some GB"
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed"; exit 1; }
	@test -x $(TEST)/bin/python || "$(PYTHON)" -m venv $(TEST) || { echo "the venv module is missing: apt-get install python3-venv"; exit 1; }
	@$(TEST)/bin/python $(INSTALL) -e ".[cpu,train,dev]"
	@touch $@

lint: $(TEST)/.installed
	@echo "== ruff, mypy --strict, import contract"
	@$(TEST)/bin/python -m ruff check .
	@$(TEST)/bin/python -m ruff format --check .
	@$(TEST)/bin/python -m mypy
	@$(TEST)/bin/lint-imports

# In an environment of its own: training is not needed to write pages. By the lock where it is for this Python.
$(SITE)/.installed: pyproject.toml $(wildcard requirements/docs-*.txt)
	@test -x $(SITE)/bin/python || "$(PYTHON)" -m venv $(SITE) || { echo "the venv module is missing: apt-get install python3-venv"; exit 1; }
	@lock=$$("$(PYTHON)" tools/distribution/which_lock.py docs) && \
	if test -n "$$lock"; then $(SITE)/bin/python $(INSTALL) --require-hashes -r "$$lock"; \
	else $(SITE)/bin/python $(INSTALL) ".[docs]"; fi
	@touch $@

site: $(SITE)/.installed
	@echo "== building the site; links and anchors checked"
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python tools/pages/site_pages.py build/site

wheel:
	@echo "== BLEEP's own wheel, in wheels"
	@"$(PYTHON)" $(WHEEL)

# The lock of the Python that is asked: make wheelhouse PYTHON=python3.12
wheelhouse:
	@echo "== all that the runtime needs, in wheels"
	@lock=$$("$(PYTHON)" tools/distribution/which_lock.py) && test -n "$$lock" || { echo "there is no lock for this Python and system"; exit 1; } && \
	"$(PYTHON)" -m pip download --quiet --disable-pip-version-check -r "$$lock" -d wheels && "$(PYTHON)" $(WHEEL) && cp "$$lock" wheels

# In an environment of their own, too: what looks at the runtime is no part of it.
$(SUPPLY)/.installed: pyproject.toml $(wildcard requirements/supply-*.txt)
	@test -x $(SUPPLY)/bin/python || "$(PYTHON)" -m venv $(SUPPLY) || { echo "the venv module is missing: apt-get install python3-venv"; exit 1; }
	@lock=$$("$(PYTHON)" tools/distribution/which_lock.py supply) && \
	if test -n "$$lock"; then $(SUPPLY)/bin/python $(INSTALL) --require-hashes -r "$$lock"; \
	else $(SUPPLY)/bin/python $(INSTALL) ".[supply]"; fi
	@touch $@

sbom: $(DEMO)/.installed $(SUPPLY)/.installed
	@echo "== the bill of materials of the runtime, by its lock"
	@lock=$$($(DEMO)/bin/python tools/distribution/which_lock.py) && test -n "$$lock" || { echo "there is no lock for this Python and system"; exit 1; } && \
	$(SUPPLY)/bin/python tools/supply/sbom.py $(DEMO)/bin/python "$$lock" build/bleep-cli.cdx.json

# Before a release: make audit MUST=--must
audit: $(SUPPLY)/.installed
	@echo "== known vulnerabilities of the runtime's locks"
	@$(SUPPLY)/bin/python tools/supply/audit.py $(MUST)

artifacts: $(TEST)/.installed
	@echo "== making the demo's bundle and slide again"
	@$(TEST)/bin/python -m bleep_train demo-artifacts -o artifacts

licences: $(TEST)/.installed
	@echo "== writing the tables of docs/third-party.md"
	@$(TEST)/bin/python tools/distribution/licences.py

formats: $(TEST)/.installed
	@echo "== writing docs/slide-formats.md from the samples of the tests"
	@$(TEST)/bin/python tools/pages/slide_formats.py > docs/slide-formats.md

cli: $(TEST)/.installed
	@echo "== writing docs/cli.md and docs/tutorial.ipynb"
	@$(TEST)/bin/python tools/pages/cli_page.py > docs/cli.md
	@$(TEST)/bin/python tools/pages/notebook.py > docs/tutorial.ipynb

viewer:
	@echo "== fetching OpenSeadragon, which bleep view pans and zooms with"
	@"$(PYTHON)" tools/distribution/openseadragon.py

clean:
	rm -rf .venv bleep-demo
