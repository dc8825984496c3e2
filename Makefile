# SPDX-License-Identifier: Apache-2.0
# make demo · make test · make bench · make V=asan test · make install      (objects in build/$(V))
V ?= rel
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
O := build/$(V)
CC := $(if $(filter asan tsan fuzz cov,$(V)),clang,gcc)
LIBS := libevent_core libevent_extra libevent_pthreads libssl libcrypto libprotobuf-c libsodium libconfig json-c libpng libjpeg smartcols libseccomp sqlite3 libnats zlib
PKG := $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null) -lm -pthread
# Optional: without it everything builds, and what needs it says so.
ifeq ($(shell pkg-config --exists libsystemd 2>/dev/null && echo yes),yes)
PKG += -DHAVE_SYSTEMD $(shell pkg-config --cflags libsystemd)
LDLIBS += $(shell pkg-config --libs libsystemd)
endif

CFLAGS_rel := -O2
CFLAGS_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_cov := -O0 --coverage
CFLAGS_fuzz := -O1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS := -std=gnu11 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wno-unused-parameter -fno-strict-aliasing \
	-fstack-protector-strong -D_FORTIFY_SOURCE=$(if $(filter rel,$(V)),2,0) -D_GNU_SOURCE -pthread $(CFLAGS_$(V))
CPPFLAGS := -I. -Ibuild/gen $(PKG)
LDFLAGS := -pthread $(filter -fsanitize%,$(CFLAGS_$(V))) $(if $(filter cov,$(V)),--coverage) -Wl,-z,relro,-z,now

LAYERS := conf crypto nn protocol provider daemon client
MAINS := daemon/main.c client/main.c
ENCLAVE := daemon/enclave_main.c daemon/enclave_memory.c
KEEPER := daemon/enclave_keeper.c daemon/enclave_tpm.c
TSS := tss2-esys tss2-mu tss2-tcti-device tss2-tcti-swtpm
SRC := $(filter-out $(MAINS) $(ENCLAVE) $(KEEPER),$(shell find $(LAYERS) -name '*.c' 2>/dev/null))
GEN := build/gen/onnx.pb-c.c build/gen/wire.pb-c.c build/gen/web.c
OBJ := $(SRC:%.c=$(O)/%.o) $(GEN:build/gen/%.c=$(O)/gen/%.o)
LIB := $(O)/libobscura.a
PROGRAMS := $(O)/obscurad $(O)/obscura $(O)/obscura-enclave
# Optional as well: only sealed state needs a TPM.
ifeq ($(shell pkg-config --exists $(TSS) && echo yes),yes)
PROGRAMS += $(O)/obscura-enclave-keeper
endif
UNIT := $(patsubst %.c,$(O)/%,$(shell find test -name '*_test.c' 2>/dev/null))
TOOLS := $(patsubst %.c,$(O)/%,$(wildcard test/tool/*.c))
FUZZ := $(patsubst %.c,build/fuzz/%,$(wildcard test/fuzz/*_fuzz.c))

all: build/packages.ok $(if $(filter-out rel,$(V)),build/packages-test.ok)
	@$(MAKE) --no-print-directory programs
programs: $(PROGRAMS)

# What is missing is installed, once: conf/packages to build and run, conf/packages-test to test as well.
build/packages-test.ok: build/packages.ok
build/%.ok: conf/%
	@sh conf/install-packages.sh conf/$*
	@mkdir -p build && touch $@

build/gen/onnx.pb-c.c: /usr/include/onnx/onnx.proto
	@mkdir -p build/gen
	@protoc-c --proto_path=/usr/include/onnx --c_out=build/gen onnx.proto
# The page of the HTTP API, as arrays of bytes.
build/gen/web.c: daemon/web/embed.sh $(wildcard daemon/web/*.*)
	@mkdir -p build/gen
	@sh daemon/web/embed.sh >$@.new && mv $@.new $@
build/gen/wire.pb-c.c: protocol/wire.proto
	@mkdir -p build/gen
	@protoc-c --proto_path=protocol --c_out=build/gen wire.proto

$(OBJ): | $(GEN)
%_avx2.o $(O)/%_avx2.o: CFLAGS += -mavx2 -mbmi2 -mfma
%_avx512.o $(O)/%_avx512.o: CFLAGS += -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx512ifma -mavx512vbmi -mavx512vbmi2 -mavx512vnni -mgfni -mbmi2
$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC  $@"
	@$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<
$(O)/gen/%.o: build/gen/%.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -w $(CPPFLAGS) -MMD -MP -c -o $@ $<
$(LIB): $(OBJ)
	@rm -f $@
	@ar rcs $@ $^
$(O)/obscurad: $(O)/daemon/main.o $(LIB)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(O)/obscura: $(O)/client/main.o $(LIB)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
comma := ,
# Static, so that what is measured is all that runs. Sanitizers have an allocator of their own and cannot be static.
SANITIZED := $(filter asan tsan fuzz cov,$(V))
$(O)/obscura-enclave: $(if $(SANITIZED),$(O)/daemon/enclave_main.o,$(ENCLAVE:%.c=$(O)/%.o)) $(LIB)
	@$(CC) $(LDFLAGS) $(if $(SANITIZED),,-static-pie -Wl$(comma)--no-warnings) -o $@ $^ $(shell pkg-config --libs $(if $(SANITIZED),,--static) libssl libcrypto libprotobuf-c libsodium libseccomp libconfig json-c) -lm
$(O)/obscura-enclave-keeper: $(KEEPER:%.c=$(O)/%.o) $(O)/conf/err.o $(O)/conf/text.o
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(TSS))
$(O)/test/%_test: $(O)/test/%_test.o $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)
$(O)/test/tool/%: $(O)/test/tool/%.o $(LIB)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
build/fuzz/test/fuzz/%_fuzz: build/fuzz/test/fuzz/%_fuzz.o build/fuzz/libobscura.a
	@$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

# test/run.sh runs unit tests, fuzz targets, real processes and namespaces, and ends with "N passed, N failed".
test: build/packages.ok build/packages-test.ok
	@$(MAKE) --no-print-directory V=$(V) programs units
	@sh test/run.sh $(V)
# Minutes to hours: what is too long for every day.
test-long: build/packages.ok build/packages-test.ok
	@$(MAKE) --no-print-directory programs
	@for t in test/long/*.sh; do OBSCURA_BUILD=$(O) sh $$t || exit 1; done
units: $(UNIT) $(TOOLS)
tools: $(TOOLS)
fuzzers: $(FUZZ)

# The sample files of the three roles, from conf/options.def; a test compares them.
samples: programs
	@for r in data-owner model-owner provider; do $(O)/obscurad $$r --sample >conf/$$r.conf || exit 7; done

# The manual, from docs/man and the tables; completion for bash; the units of systemd.
PAGES := build/man/obscura.1 build/man/obscurad.8 build/man/obscura.conf.5
PREFIX ?= /usr/local
$(O)/manual: $(O)/docs/man/manual.o $(LIB)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
build/man/%: docs/man/%.in $(O)/manual
	@mkdir -p $(@D)
	@$(O)/manual page <$< >$@.new && mv $@.new $@
build/man/obscura.bash: $(O)/manual
	@mkdir -p $(@D)
	@$(O)/manual bash >$@.new && mv $@.new $@
man: $(PAGES) build/man/obscura.bash

# make install PREFIX=/usr DESTDIR=… : programs, manual, completion, units, and sample configurations where there are none.
DATA := $(DESTDIR)$(PREFIX)
SYSCONFDIR ?= /etc
install: programs man
	@sh conf/systemd/units.sh build/systemd $(PREFIX)/bin
	@install -Dt $(DATA)/bin $(PROGRAMS)
	@for p in $(PAGES); do install -Dm644 -t $(DATA)/share/man/man$${p##*.} $$p; done
	@install -Dm644 build/man/obscura.bash $(DATA)/share/bash-completion/completions/obscura
	@ln -sf obscura $(DATA)/share/bash-completion/completions/obscurad
	@install -Dm644 -t $(DATA)/share/doc/obscura README.md docs/*.md
	@install -Dm644 -t $(DATA)/share/doc/obscura/examples conf/*.conf $(wildcard conf/*.cfg conf/*.yaml conf/*.sbatch) conf/gramine/obscura-enclave.manifest.template
	@install -Dm644 -t $(DATA)/lib/systemd/system build/systemd/*
	@install -Dm644 conf/systemd/obscura.sysusers $(DATA)/lib/sysusers.d/obscura.conf
	@install -Dm644 conf/systemd/obscura.tmpfiles $(DATA)/lib/tmpfiles.d/obscura.conf
	@install -d $(DESTDIR)$(SYSCONFDIR)/obscura/pki
	@for r in data-owner model-owner provider; do \
		f=$(DESTDIR)$(SYSCONFDIR)/obscura/$$r.conf; [ -e $$f ] || install -m644 conf/$$r.conf $$f; done

# obscura-client, obscura-daemon and obscura-common for this Debian: build/deb/*.deb
deb: build/packages.ok
	@rm -rf build/deb
	@$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=build/deb/all
	@sh conf/deb/build.sh build/deb

demo: build/packages.ok
	@$(MAKE) --no-print-directory programs
	@$(O)/obscura demo

# Speed of everything on this host, about ten minutes: build/bench/ has the figures (docs/BENCHMARKS.md).
bench: build/packages.ok
	@$(MAKE) --no-print-directory programs
	@$(O)/obscura bench $(BENCH)

# report.md and report.html beside the bench.jsonl of a folder: docs/EXPERIMENTS.md.
report:
	@sh docs/report/report.sh $(RESULTS) $(LOOPBACK)

clean:
	rm -rf build
.PHONY: report all programs test test-long units tools fuzzers samples demo bench clean
.SECONDARY:
-include $(shell find $(O) -name '*.d' 2>/dev/null)
