# `make book` and `make test` do everything on a machine that has Python 3.11+ and make; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# One stamp for each level of the environment: what builds the book, what tests it too, and what checks the code too.
# Stamps are named after the folder: a copied or moved folder gets an environment of its own.
FOLDER := $(shell pwd | cksum | cut -d' ' -f1)
BOOK := $(VENV)/.ready-book-$(FOLDER)
TEST := $(VENV)/.ready-test-$(FOLDER)
DEV := $(VENV)/.ready-dev-$(FOLDER)
# Beside them: what opens a chapter with a kernel.
LAB := $(VENV)/.ready-lab-$(FOLDER)
# Not usable: no pip, an older Python, or a vae_core that an interrupted pip took out and did not put back.
USABLE := $(shell $(RUN) -P -c 'import pip, sys; from importlib.metadata import version; version("vae_core"); print("yes" * (sys.version_info >= (3, 11)))' 2>/dev/null)

# Nothing of the caller's own settings may change what a chapter prints, how it is drawn, or whether its asserts run.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONSTARTUP PYTHONWARNINGS PYTHONSAFEPATH
unexport PYTEST_ADDOPTS MPLBACKEND MATPLOTLIBRC JUPYTER_PATH SOURCE_DATE_EPOCH PIP_TARGET PIP_PREFIX
# git sets these for a hook; tests that make repositories of their own would write into this one.
unexport GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX
export PYTHONUTF8 := 1
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export JUPYTER_PREFER_ENV_PATH := 1
# Threads that wait must not spin: beside another program on the same cores that costs more than half the time.
export OMP_WAIT_POLICY ?= PASSIVE
export IPYTHONDIR := $(CURDIR)/$(VENV)/ipython
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/matplotlib

.PHONY: help book lab test check check-style check-types check-imports check-spelling check-scripts check-node check-tests format
.PHONY: notebooks lengths times mutants pretrained benchmark seeds binder clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo "make book        environment, every chapter executed, HTML in _build/html/index.html"
	@echo "make lab         environment, JupyterLab with the chapters: change them, and use their labs"
	@echo "make test        environment, all tests: package, notebooks and (when built) pages; ARGS='-k name' for pytest"
	@echo "make check       environment, style, types, order of imports, spelling, scripts and the fast tests"
	@echo "make format      rewrite code and cells in the style that make check wants"
	@echo "make notebooks   execute the chapters and store them clean; FILES='book/name.ipynb' for some"
	@echo "make pretrained  train anew the models that ship with vae_core; ARGS='--model gaussian' for one"
	@echo "make benchmark   how fast training is beside other libraries, on an idle machine; ARGS='--root FOLDER' says where MNIST is"
	@echo "make seeds       whether the chapters' asserts hold for ten other seeds; FILES='book/name.ipynb' for some"
	@echo "make lengths     how many words and lines of code each chapter has on its page; it fails beyond the limits"
	@echo "make times       how long each chapter takes on one core, and how much memory; ARGS=--part-one for Part I alone"
	@echo "make mutants     makes each of some seventy formulas wrong: a test must notice, and a chapter; ARGS='--only P5' for some"
	@echo "make binder      every chapter on one core, in an environment made from Binder's files alone"
	@echo "make clean       remove what was built; the environment stays (rm -r $(VENV) removes it)"
	@echo "PYTHON=python3.12 chooses the Python from which the environment is made."

# --all: without it a second build executes and checks only what changed. _build goes first, so that a build
# that failed never leaves an old page that looks new.
book: $(BOOK)
	@rm -rf _build
	@echo "Executing every chapter and writing the pages ..."
	@$(VENV)/bin/jupyter-book build . --all -W -n --keep-going || \
	  { status=$$?; rm -f _build/html/index.html; echo "The book was NOT built: see the messages above."; exit $$status; }
	@test -s _build/html/index.html || { echo "The book was NOT built: there is no _build/html/index.html."; exit 1; }
	@echo "The book is ready: open _build/html/index.html in a browser."

lab: $(LAB)
	@$(VENV)/bin/jupyter lab $(ARGS) book

test: $(TEST)
	@$(RUN) -m pytest --nbval $(ARGS)

# Each part by its own name too: .pre-commit-config.yaml runs them with READY= so that no hook installs anything.
READY = $(DEV)
CODE := vae_core book tests benchmarks conftest.py
CELLS := --line-length 80 book/*.ipynb
check: check-style check-types check-imports check-spelling check-scripts check-tests

check-style: $(READY)
	@$(VENV)/bin/ruff check --quiet $(CODE)
	@$(VENV)/bin/ruff check --quiet $(CELLS)
	@$(VENV)/bin/ruff format --check $(CODE) && $(VENV)/bin/ruff format --check $(CELLS) || \
	  { echo "'make format' puts the style right."; exit 1; }

check-types: $(READY)
	@$(VENV)/bin/mypy

check-imports: $(READY)
	@$(VENV)/bin/lint-imports --no-logo

check-spelling: $(READY)
	@$(VENV)/bin/codespell $(CODE) .ci binder Makefile *.md *.yml *.toml *.cff

# Node itself comes from PyPI, as every other tool; what checks the scripts comes from npm, as package-lock.json says,
# into node_modules, which git ignores. A reader needs neither: Python joins the scripts.
WITH_NODE := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
MODULES := node_modules/.package-lock.json
check-scripts: $(READY) $(if $(READY),$(MODULES))
	@test -f $(MODULES) || { echo "The tools that check the scripts are not here: run 'make check-scripts' once."; exit 1; }
	@$(WITH_NODE) node_modules/.bin/biome ci --error-on-warnings --colors=off
	@$(WITH_NODE) node_modules/.bin/tsc --project .
	@$(MAKE) --no-print-directory check-node READY=

# Needs nothing from npm.
check-node: $(READY)
	@$(WITH_NODE) node --test --test-reporter=dot "tests/js/*.test.js"

$(MODULES): package.json package-lock.json $(DEV)
	@echo "Fetching what checks the scripts ..."
	@$(WITH_NODE) npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || \
	  { echo "The scripts were NOT checked: npm could not fetch their tools. Is there a network, and does npm reach its registry?"; \
	    echo "make check-style check-types check-imports check-spelling check-node check-tests runs the other parts."; exit 1; }
	@touch $@

check-tests: $(READY)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 --dist worksteal -m "not slow" tests/core tests/book

format: $(DEV)
	@$(VENV)/bin/ruff check --fix-only $(CODE)
	@$(VENV)/bin/ruff check --fix-only $(CELLS)
	@$(VENV)/bin/ruff format $(CODE)
	@$(VENV)/bin/ruff format $(CELLS)
	@test ! -x node_modules/.bin/biome || $(WITH_NODE) node_modules/.bin/biome check --fix --colors=off

notebooks: $(BOOK)
	@$(RUN) book/_tools/store.py $(FILES)

lengths: $(BOOK)
	@$(RUN) book/_tools/lengths.py $(FILES)

times: $(BOOK)
	@$(RUN) book/_tools/times.py $(ARGS) $(FILES)

mutants: $(TEST)
	@$(RUN) book/_tools/mutants.py $(ARGS)

seeds: $(BOOK)
	@$(RUN) book/_tools/seeds.py $(ARGS) $(FILES)

binder: $(BOOK)
	@$(RUN) book/_tools/binder.py $(ARGS)

pretrained: $(BOOK)
	@$(RUN) book/_tools/pretrain.py $(ARGS)

# The other libraries get an environment of their own, on top of ours, so that torch is not installed twice.
PEERS := .venv-peers
$(PEERS)/.ready: $(BOOK) Makefile
	@rm -rf $(PEERS)
	@$(RUN) -m venv $(PEERS)
	@site=$$($(RUN) -c 'import site; print(site.getsitepackages()[0])') && \
	  peers=$$($(PEERS)/bin/python -c 'import site; print(site.getsitepackages()[0])') && \
	  echo "import site; site.addsitedir('$$site')" > "$$peers/ours.pth"
	@$(PEERS)/bin/python -m pip install --quiet pythae==0.1.2 pyro-ppl==1.9.2
	@touch $@

benchmark: $(PEERS)/.ready
	@$(RUN) benchmarks/speed.py --peers $(PEERS)/bin/python $(ARGS)

clean:
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .import_linter_cache build *.egg-info
	find book tests vae_core benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# An environment without its stamp is half made (or not ours): it is made anew. With an old stamp it is brought up to date.
ifneq ($(USABLE),yes)
.PHONY: $(BOOK)
endif
$(BOOK): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	  { echo "There is no '$(PYTHON)' here: install Python 3.11 or newer, or name one as in: make book PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "This book needs Python 3.11 or newer, and '$(PYTHON)' is older: name a newer one as in: make book PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' lacks the venv module: install it (Debian and Ubuntu: apt install python3-venv), or choose another Python with PYTHON=..."; exit 1; }
	@if [ "$(USABLE)" != yes ] || [ ! -f $@ ]; then echo "Making the environment in $(VENV) ..."; $(PYTHON) -m venv --clear $(VENV); fi
	@rm -f $@
	@$(RUN) -m pip install -c constraints.txt -e ".[book]"
	@$(RUN) -c 'import matplotlib.font_manager'  # the first import lists the machine's fonts, which may take long and say so
	@touch $@

$(LAB): $(BOOK)
	@echo "Adding JupyterLab ..."
	@rm -f $@
	@$(RUN) -m pip install --quiet -c constraints.txt -e ".[lab]"
	@touch $@

# pip adds what is missing, and changes nothing that is there: every version is fixed.
$(TEST): $(BOOK)
	@echo "Adding what the tests need ..."
	@rm -f $@
	@$(RUN) -m pip install --quiet -c constraints.txt -e ".[book,test]"
	@touch $@

$(DEV): $(TEST)
	@echo "Adding what checks the code ..."
	@rm -f $@
	@$(RUN) -m pip install --quiet -c constraints.txt -e ".[book,test,dev]"
	@touch $@
