# Everything that is done with a checkout. The first two targets are all that most people need:
#
#   make examine                 examine the demo release (public Debian packages) and write a record and a report
#   make examine RELEASE=path    the same for a release of your own
#   make test                    linters, types, import rules, tests
#
# Needs a Debian-like system with make and Python 3.11 or later with venv. No root, no service, no container.

PYTHON ?= python3
RELEASE ?=
RECORDS ?= records

.DEFAULT_GOAL := examine
.PHONY: examine test lint agreement fuzz bench tools requirements clean
.SUFFIXES:

# ---- installing: pinned and hashed, into .venv, nothing outside it

.venv/runtime: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Assay needs Python 3.11 or later: make PYTHON=python3.x")'
	@echo "installing into .venv"
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: requirements-dev.txt .venv/runtime
	@echo "installing what the tests need into .venv"
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

build/peers/ready: requirements-bench.txt
	@echo "installing the programs to compare with into build/peers"
	@$(PYTHON) -m venv build/peers
	@build/peers/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

# ---- using

# Exit code 3 says that something in the release could not be read; the record names it, and the work is done.
examine: .venv/runtime
	@mkdir -p $(RECORDS)
	@release='$(RELEASE)'; \
	test -n "$$release" || release=$$(.venv/bin/python tools/demo_release.py) || exit 2; \
	name=$$(basename "$$release"); record='$(RECORDS)'/"$${name%.*}".assay; \
	.venv/bin/assay examine --replace --output "$$record" --report html "$$release"; code=$$?; \
	test $$code -eq 0 -o $$code -eq 3 || exit $$code

# ---- proving

test: tools lint
	@.venv/bin/pytest -n auto

PYTHON_CODE = src tests tools benchmarks benchmarks/examine benchmarks/hostile benchmarks/big benchmarks/inspectors \
  benchmarks/unpack

lint: .venv/dev
	@.venv/bin/ruff check $(PYTHON_CODE)
	@.venv/bin/ruff format --check $(PYTHON_CODE)
	@.venv/bin/mypy
	@.venv/bin/lint-imports

# Tests build real images with real tools, and skip with a reason where a tool is absent. As root, on a system with apt,
# the absent ones are installed; without a network this ends soon and changes nothing.
PACKAGES = squashfs-tools cpio rpm zstd lz4 xz-utils zip fdisk gdisk libcap2-bin attr e2fsprogs libarchive-tools \
  android-sdk-libsparse-utils arj btrfs-progs cabextract cramfsswap cryptsetup-bin device-tree-compiler dfu-util \
  dosfstools erofs-utils exfatprogs f2fs-tools genisoimage genromfs jlha-utils lhasa lvm2 lzip lzop makeself mdadm \
  gnupg mkbootimg msitools mtd-utils mtools ncompress ntfs-3g openssl osslsigncode p7zip-full qemu-utils srecord u-boot-tools udftools \
  util-linux xfsprogs xorriso
APT = DEBIAN_FRONTEND=noninteractive timeout 400 apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20

tools:
	@command -v apt-get dpkg-query >/dev/null && test "$$(id -u)" = 0 || exit 0; \
	missing=; for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	test -z "$$missing" && exit 0; echo "installing for the tests:$$missing"; \
	{ $(APT) install --no-install-recommends --yes $$missing || { $(APT) update && \
	  { $(APT) install --no-install-recommends --yes $$missing || { failed=; for package in $$missing; do \
	    $(APT) install --no-install-recommends --yes $$package || failed=1; done; test -z "$$failed"; }; }; }; \
	} >/dev/null 2>&1 || echo "could not install all; the tests that need what is missing are skipped"

# What Assay says of settings, held against what the programs themselves say; writes docs/agreement.md.
agreement: .venv/dev tools
	@.venv/bin/python tools/agreement.py

# Broken images for every reader; writes docs/fuzzing.md if none is named. make fuzz FORMAT=tar INPUTS=1000 SECONDS=60
FORMAT ?=
INPUTS ?= 100000
SECONDS ?= 7200

fuzz: .venv/dev tools
	@nice .venv/bin/python tools/fuzz.py --inputs $(INPUTS) --seconds $(SECONDS) $(or $(FORMAT),--write)

bench: .venv/runtime build/peers/ready
	@.venv/bin/python benchmarks/examine --write docs/benchmarks.md $(RELEASE)

# ---- keeping

# --all-build-deps: what builds Assay itself is hashed too, so an installation fetches nothing that is not listed.
COMPILE = CUSTOM_COMPILE_COMMAND="make requirements" .venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
  --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

requirements: .venv/dev
	@$(COMPILE) --all-build-deps --output-file requirements.txt pyproject.toml
	@$(COMPILE) --all-build-deps --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml
	@$(COMPILE) --output-file requirements-bench.txt benchmarks/peers.in

clean:
	@rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
