# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A front for the commands of the README; Meson does the work.

BUILD ?= build
BUILD_ASAN ?= build-asan
BUILD_TSAN ?= build-tsan
BUILD_CROSS ?= build-aarch64
MESON_ARGS ?=

NINJA = ninja -C

# Tests wait more than they compute.
TEST_JOBS ?= $(shell expr $$(nproc) + 1)
TEST = meson test --no-rebuild --print-errorlogs --num-processes $(TEST_JOBS)

.PHONY: all deps build demo check check-asan check-libvirt check-tsan check-slow cross check-cross
.PHONY: check-guest check-nova check-nsm fuzz-short install uninstall bench-% clean

all: build

deps:
	scripts/install-deps

$(BUILD)/build.ninja:
	meson setup $(MESON_ARGS) $(BUILD)

$(BUILD_ASAN)/build.ninja:
	meson setup $(MESON_ARGS) -Dsanitize=true $(BUILD_ASAN)

$(BUILD_TSAN)/build.ninja:
	meson setup $(MESON_ARGS) -Db_sanitize=thread -Db_lundef=false $(BUILD_TSAN)

$(BUILD_CROSS)/build.ninja:
	meson setup $(MESON_ARGS) --cross-file cross/aarch64-linux-gnu.ini $(BUILD_CROSS)

.PHONY: source
source: deps
	scripts/fetch-libvirt

build: source
	$(MAKE) --no-print-directory $(BUILD)/build.ninja
	$(NINJA) $(BUILD) --quiet

demo: build
	$(NINJA) $(BUILD) --quiet hello
	LIBVIRT_NITRO_BUILD=$(abspath $(BUILD)) scripts/demo

check: build
	$(NINJA) $(BUILD) --quiet hello-all kernel-guest
	$(TEST) -C $(BUILD) --suite libvirt-nitro --no-suite slow

# All of them; CI runs fewer
ASAN_SUITES ?= libvirt-nitro

check-asan: source
	$(MAKE) --no-print-directory $(BUILD_ASAN)/build.ninja
	$(NINJA) $(BUILD_ASAN) --quiet
	$(NINJA) $(BUILD_ASAN) --quiet hello-all
	$(TEST) -C $(BUILD_ASAN) $(ASAN_SUITES:%=--suite %) --no-suite slow --no-suite clients --no-suite kernel

# The daemon, the plugin and the tests of the other versions of libvirt, or of VERSION alone
check-libvirt: build
	scripts/check-libvirt $(BUILD) $(VERSION)

# Many clients, with libvirt under ThreadSanitizer as well
check-tsan: source
	$(MAKE) --no-print-directory $(BUILD_TSAN)/build.ninja
	$(NINJA) $(BUILD_TSAN) --quiet src/nitro/virtnitrod src/nitro/libvirt_driver_nitro.so \
		src/helper/libvirt_nitro tests/tsanglib.so hello
	scripts/check-tsan $(BUILD_TSAN)

# What takes minutes
check-slow: build
	$(NINJA) $(BUILD) --quiet hello-all kernel-guest
	$(TEST) -C $(BUILD) --suite slow
	$(MAKE) --no-print-directory check-asan
	scripts/check-libvirt --boot $(BUILD)
	$(MAKE) --no-print-directory check-packages rpm
	scripts/check-in-root trixie
	$(MAKE) --no-print-directory check-nova
	$(MAKE) --no-print-directory check-nsm
	$(MAKE) --no-print-directory check-guest

# OpenStack nova with our compute driver, on a machine that is made for it
check-nova: build
	$(NINJA) $(BUILD) --quiet hello
	scripts/check-nova $(BUILD)

# The emulated NSM with a QEMU that can have one, and Linux' own driver of it
check-nsm: build
	$(NINJA) $(BUILD) --quiet hello
	scripts/check-nsm $(BUILD)

# For aarch64, on a machine of another architecture: without what libvirt has more
cross: source
	scripts/install-deps --cross
	$(MAKE) --no-print-directory $(BUILD_CROSS)/build.ninja
	$(NINJA) $(BUILD_CROSS) --quiet src/nitro/virtnitrod src/nitro/libvirt_driver_nitro.so \
		src/helper/libvirt_nitro src/check/libvirt_nitro_check src/services/libvirt_nitro_services \
		src/nsm/libvirt_nitro_nsm src/eif/virt-eif src/init/init-aarch64 \
		src/validate/virt-nitro-validate

# Meson builds what these tests need, and no more
check-cross: cross
	$(filter-out --no-rebuild,$(TEST)) -C $(BUILD_CROSS) --suite program

# The same build in a guest
check-guest: cross
	$(filter-out --no-rebuild,$(TEST)) -C $(BUILD_CROSS) --suite guest

# Each fuzz target for a minute; one of them needs libvirt's library. Its log is apart, for that of
# make check to stay.
fuzz-short: source
	$(MAKE) --no-print-directory $(BUILD)/build.ninja
	$(NINJA) $(BUILD) --quiet libvirt-library
	$(TEST) -C $(BUILD) --suite fuzz --logbase fuzzlog

install: build
	DESTDIR=$(abspath $(DESTDIR)) meson install -C $(BUILD) --no-rebuild --skip-subprojects

uninstall:
	DESTDIR=$(abspath $(DESTDIR)) $(NINJA) $(BUILD) --quiet remove

# Packages for Debian's SUITE, by default this machine's
SUITE ?= $(shell . /etc/os-release; echo $$VERSION_CODENAME)
PACKAGES ?= packages/$(SUITE)

.PHONY: deb rpm check-packages
deb:
	scripts/build-deb $(SUITE) $(PACKAGES)

rpm: deb
	scripts/build-rpm $(SUITE) $(PACKAGES) $(PACKAGES)/rpm

check-packages: deb
	scripts/check-packages $(SUITE) $(PACKAGES)

bench-%: build
	$(NINJA) $(BUILD) --quiet hello bench-modules
	LIBVIRT_NITRO_BUILD=$(abspath $(BUILD)) bench/bench-$*

clean:
	rm -rf $(BUILD) $(BUILD_ASAN) $(BUILD_TSAN) $(BUILD_CROSS) $(BUILD)-fuzz $(BUILD)-[0-9]*
