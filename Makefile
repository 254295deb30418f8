# Tessera's build. `make` builds $(BUILD)/tsc; `make help` lists the rest.
#
# Every folder's *.c becomes $(BUILD)/<folder>.a, picked up by wildcard: adding a file needs no edit here. A folder that does not
# exist gives an empty archive. Nothing is written outside $(BUILD), so several builds (BUILD=build/asan SAN=address) live together.

VERSION     := 0.1.0
BUILD       ?= build
LLVM_PREFIX ?= /usr/lib/llvm-22
LLVM_CONFIG ?= $(LLVM_PREFIX)/bin/llvm-config
LLD         ?= $(LLVM_PREFIX)/bin/ld.lld
SAN         ?=
EXTRA_CFLAGS ?=

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif

PREFIX      ?= /usr/local
DESTDIR     ?=
PY          := .venv/bin/python
# jobs for the builds that check, quickstart and bench start by themselves, unless make was given -j
JOBS         = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

HELPER_SRC := $(sort $(wildcard tsc/helper/*.c))
HELPER     := $(if $(HELPER_SRC),$(BUILD)/tsc-load)

all: $(BUILD)/tsc $(HELPER)

help:
	@echo 'make               build $(BUILD)/tsc'
	@echo 'make python        build the Python package in $(BUILD)/python, for PYTHONPATH'
	@echo 'make wheel         dist/tessera_ml-*.whl of it, for pip install'
	@echo 'make quickstart    set up, build, and run the MiniLM example (TEXT="..." embeds that text)'
	@echo 'make docs          the documentation as pages for a browser, $(BUILD)/docs/index.html'
	@echo 'make check         set up, build, and run every test (SUITES="unit tree" MATCH=name for some of them)'
	@echo 'make bless         rewrite the golden answers; read the diff'
	@echo 'make bench         compare speed with the peers'
	@echo '                   DEVICE=cuda: check and bench on a GPU, with the PyTorch of $$(GPU_PYTHON); PART="diff guards" some parts of the check,'
	@echo '                   CLASS=matmul,norm SECONDS=0.5 some classes of the bench and the time for each pair'
	@echo 'make install       into $$(DESTDIR)$$(PREFIX), PREFIX=$(PREFIX)'
	@echo 'make dist          dist/tessera-$(VERSION)-linux-x86_64.tar.xz: runs anywhere, unpacked anywhere'
	@echo 'make clean         remove $(BUILD); V=1 shows commands, BUILD=DIR builds elsewhere, SAN=address,undefined checks memory'

# ---- flags ------------------------------------------------------------------------------------------------------------------
WARN     := -Wall -Wextra -Werror
INCLUDES := -I. -Iinclude -I$(BUILD)/gen
COMMON    = -O2 -g $(WARN) -D_GNU_SOURCE $(INCLUDES) -DTS_VERSION='"$(VERSION)"' -ffile-prefix-map=$(CURDIR)=. -ffunction-sections -fdata-sections \
            $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) $(EXTRA_CFLAGS)
CFLAGS    = -std=c17 $(COMMON)
CXXFLAGS  = -std=c++17 -fno-exceptions -fno-rtti $(COMMON)
LLVM_INC := -isystem $(LLVM_PREFIX)/include
DEPS      = -MMD -MP -MF $(@:.o=.d)

# LLVM's own list of libraries, less the two of Polly, which Debian packages apart and nothing here calls.
LLVM_PARTS := x86 nvptx amdgpu aarch64 passes lto dtlto option
LLVM_LIBS   = -L$(LLVM_PREFIX)/lib -llldELF -llldCommon \
              $(filter-out -lPolly -lPollyISL,$(shell $(LLVM_CONFIG) --link-static --libs $(LLVM_PARTS))) -lz -lzstd
# lld links the 90 MB program in under a second, GNU ld takes five times as long.
LDFLAGS     = -fuse-ld=lld -B$(BUILD)/ld -Wl,--gc-sections $(if $(SAN),-fsanitize=$(SAN))
LIBS        = -lyaml -llz4 $(LLVM_LIBS) -lstdc++ -lm -lpthread

# ---- sources ----------------------------------------------------------------------------------------------------------------
FOLDERS := tsc emit backend/llvm middle/tiler middle/rewrite frontend/graph_pack frontend/graph_text ir support
# only these may see LLVM's headers (STYLE.md: no other folder includes llvm-c)
LLVM_FOLDERS := backend/llvm emit

obj       = $(patsubst %,$(BUILD)/obj/%.o,$(1))
sources   = $(sort $(wildcard $(1)/*.c $(1)/*.cpp $(1)/*.S))
archive   = $(BUILD)/$(notdir $(subst backend/,,$(1))).a
ARCHIVES := $(foreach f,$(FOLDERS),$(call archive,$f))
GEN_RULES_SRC := $(sort $(wildcard middle/rewrite/gen/*.c))
RULES     := $(sort $(wildcard middle/rewrite/*.rules))
GENERATED := $(if $(wildcard middle/rewrite/gen/genrules.c),$(BUILD)/gen/rules.inc)
UNIT_SRC  := $(sort $(wildcard tests/unit/test_*.c))
UNIT      := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/unit/%)

# ---- rules ------------------------------------------------------------------------------------------------------------------
$(BUILD)/obj/%.c.o: %.c | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LLVM_FLAGS) $(DEPS) -c $< -o $@

$(BUILD)/obj/%.cpp.o: %.cpp | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CXXFLAGS) $(LLVM_FLAGS) $(DEPS) -c $< -o $@

$(BUILD)/obj/%.S.o: %.S | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) $(INCLUDES) -DTS_RTLIB='"$(BUILD)/rtlib.o"' -DTS_RTLIB_CUDA='"$(BUILD)/rtlib_cuda.o"' $(DEPS) -c $< -o $@

# Everything waits for this: what is missing on the machine is installed, once. gcc finds the linker of -fuse-ld=lld by the name
# ld.lld in the folder of -B.
$(BUILD)/ld/ld.lld:
	@scripts/setup.sh build
	@mkdir -p $(@D)
	@ln -sf $(LLD) $@

$(foreach f,$(LLVM_FOLDERS) tests/unit,$(eval $(BUILD)/obj/$f/%.o: LLVM_FLAGS := $(LLVM_INC)))

# $(1) folder: its archive, made anew when a member changes, comes or goes
define folder_rule
$(call archive,$(1)): $(call obj,$(filter-out tsc/main.c,$(call sources,$(1)))) $(if $(filter emit,$(1)),$(BUILD)/obj/emit/lld_stubs.o) $(BUILD)/obj/$(1).list
	@rm -f $$@
	$$(Q)ar rcsD $$@ $$(filter %.o,$$^)
$(BUILD)/obj/$(1).list: FORCE
	@mkdir -p $$(@D)
	@echo '$(call sources,$(1))' | cmp -s - $$@ || echo '$(call sources,$(1))' > $$@
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rule,$f)))

# lld names every target LLVM knows; the ones tsc does not carry get empty initialisers
$(BUILD)/gen/lld_stubs.c: emit/lld_stubs.sh
	@mkdir -p $(@D)
	$(Q)sh emit/lld_stubs.sh $(LLVM_PREFIX)/include X86 NVPTX AMDGPU AArch64 > $@.tmp && mv $@.tmp $@
$(BUILD)/obj/emit/lld_stubs.o: $(BUILD)/gen/lld_stubs.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@

# rewrite rules are data: a small program turns them into C. It may use support and ir, so only the rewriter waits for it.
$(BUILD)/gen-rules: $(call obj,$(GEN_RULES_SRC)) $(BUILD)/ir.a $(BUILD)/support.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/ir.a $(BUILD)/support.a -lm
$(BUILD)/gen/rules.inc: $(BUILD)/gen-rules $(RULES)
	@mkdir -p $(@D)
	$(Q)$(BUILD)/gen-rules $(RULES) > $@.tmp && mv $@.tmp $@
$(call obj,$(call sources,middle/rewrite) $(UNIT_SRC)): | $(GENERATED)

# The runtime that is linked into every artifact (a loop in its memcpy must not become a call of memcpy): freestanding, position independent, one relocatable object, carried inside tsc.
# What drives NVIDIA GPUs is an object of its own, which artifacts without code for them do not get.
RT_FLAGS := -std=c17 -O2 $(WARN) -Iinclude -I. -ffreestanding -fPIC -fvisibility=hidden -fno-stack-protector -fcf-protection=none \
            -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections -fno-common -fno-ident -march=x86-64-v2 -mtune=generic \
            -fno-tree-loop-distribute-patterns -ffp-contract=off -ffile-prefix-map=$(CURDIR)=.
RT_OBJ   := $(call obj,$(sort $(wildcard rtlib/*.c)))
RT_CUDA  := $(filter $(BUILD)/obj/rtlib/cuda%,$(RT_OBJ))
$(RT_OBJ): $(BUILD)/obj/%.c.o: %.c | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) $(RT_FLAGS) $(DEPS) -c $< -o $@
# what opens a model is in no hurry
$(BUILD)/obj/rtlib/cuda_model.c.o $(BUILD)/obj/rtlib/cuda_context.c.o: RT_FLAGS += -Os
$(BUILD)/obj/rtlib.list: FORCE
	@mkdir -p $(@D)
	@echo '$(RT_OBJ)' | cmp -s - $@ || echo '$(RT_OBJ)' > $@
$(BUILD)/obj/rtlib_empty.o: | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)printf '.section .note.GNU-stack,"",@progbits\n' | $(CC) -x assembler -c - -o $@
$(BUILD)/rtlib.o: $(filter-out $(RT_CUDA),$(RT_OBJ)) $(BUILD)/obj/rtlib_empty.o $(BUILD)/obj/rtlib.list
	$(Q)$(BUILD)/ld/ld.lld -r -o $@ $(filter %.o,$^)
$(BUILD)/rtlib_cuda.o: $(RT_CUDA) $(BUILD)/obj/rtlib_empty.o $(BUILD)/obj/rtlib.list
	$(Q)$(BUILD)/ld/ld.lld -r -o $@ $(filter %.o,$^)
$(BUILD)/obj/emit/rtlib_blob.S.o: $(BUILD)/rtlib.o $(BUILD)/rtlib_cuda.o
$(BUILD)/obj/emit/report_blob.S.o: emit/report.html
$(BUILD)/obj/middle/tiler/db_blob.S.o: $(wildcard autotune_db/*.yaml)

# one program without any shared library, the same for developers and for release
$(BUILD)/tsc: $(call obj,tsc/main.c) $(ARCHIVES)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(if $(SAN),,-static) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS)

# dynamic against libc alone, so that they load artifacts and run on machines that have nothing else (GPU hosts)
$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.c.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group -Wl,-Bstatic $(filter-out -lm -lpthread,$(LIBS)) -Wl,-Bdynamic -lm -lpthread

unit: $(UNIT)
	@:

unit-check: $(UNIT)
	@rc=0; for t in $(UNIT); do $$t || rc=1; done; exit $$rc

# What needs dlopen cannot be static: a helper beside tsc, linked like an artifact. It is freestanding code with its own _start, and
# the only thing it asks of the C library, under version-free names, is dlopen, dlsym and dlerror; so it runs with any glibc. Before
# glibc 2.34 they, and the threads that artifacts look for, lay in libraries of their own; newer ones keep these names for such programs.
HELPER_OBJ := $(call obj,$(HELPER_SRC))
LIBC_NAMES := $(patsubst %,$(BUILD)/obj/names/%,libc.so.6 libdl.so.2 libpthread.so.0)
$(HELPER_OBJ): $(BUILD)/obj/%.c.o: %.c | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) $(RT_FLAGS) $(DEPS) -c $< -o $@
$(LIBC_NAMES): | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)printf 'void *dlopen(void){return 0;}void *dlsym(void){return 0;}void *dlerror(void){return 0;}\n' | \
	  $(CC) -x c - -shared -nostdlib -fuse-ld=lld -B$(BUILD)/ld -Wl,-soname,$(@F) -Wl,--build-id=none -o $@
$(BUILD)/tsc-load: $(HELPER_OBJ) $(BUILD)/rtlib.o $(BUILD)/rtlib_cuda.o $(LIBC_NAMES)
	$(Q)$(BUILD)/ld/ld.lld -pie --gc-sections -z noexecstack -z now --build-id=none \
	  --dynamic-linker /lib64/ld-linux-x86-64.so.2 -o $@ $^

# ---- what people run --------------------------------------------------------------------------------------------------------
setup:
	@scripts/setup.sh test

# DEVICE=cuda: on a machine with a GPU, in the Python that has PyTorch for it (docs/testing.md)
DEVICE      ?= cpu
GPU_PYTHON  ?= python3
$(if $(filter-out cpu cuda,$(DEVICE)),$(error DEVICE=$(DEVICE): there are cpu and cuda))

ifeq ($(DEVICE),cuda)
check:
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory $(JOBS) all python $(DEVICE_PROGRAMS)
	@$(GPU_PYTHON) tests/device/run.py --build $(BUILD) $(PART)
bench:
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory $(JOBS) all python $(BUILD)/device/host $(BUILD)/device/first
	@$(GPU_PYTHON) bench/gpu/models.py $(BUILD)/tsc $(or $(CLASS),all) $(or $(SECONDS),0.5)
else
check:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory $(JOBS) all unit $(CHECK_PROGRAMS)
	@$(PY) tests/run.py --build $(BUILD) $(if $(MATCH),--match '$(MATCH)') $(SUITES)
bench:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(PY) bench/run.py --build $(BUILD)
endif

bless:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(PY) tests/run.py --build $(BUILD) --bless $(if $(MATCH),--match '$(MATCH)') $(or $(SUITES),golden)

# every graph of tests/suites/_spills.py assembled: no kernel may spill (docs/testing.md)
spills:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(PY) tests/spills.py --build $(BUILD) $(if $(MATCH),--match '$(MATCH)')

quickstart:
	@scripts/setup.sh quickstart
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(PY) examples/minilm/quickstart.py --build $(BUILD)
# TEXT reaches the program as it was typed, dollar signs and all
ifdef TEXT
override TEXT := $(value TEXT)
export TEXT
endif

# bin/tsc, the helper and runtime beside it, headers, documents, and the licences of what tsc carries
install: all
	scripts/install.sh $(BUILD) '$(DESTDIR)$(PREFIX)'

# beside what is installed: the GPU suite and bench (tests/device/, bench/gpu/), with all that they take but PyTorch
dist:
	@$(MAKE) --no-print-directory all python $(DEVICE_PROGRAMS)
	scripts/dist.sh $(BUILD) $(VERSION)

# the vector math on every f32 there is: about a quarter of an hour on two cores
test-math: $(BUILD)/unit/test_math $(BUILD)/unit/test_convert
	$(BUILD)/unit/test_math full
	$(BUILD)/unit/test_convert full

clean:
	rm -rf $(BUILD)

# what is being made, one line each; the whole commands with V=1
Q = $(if $(filter 1,$(V)),,@printf '  %s\n' '$(@:$(BUILD)/%=%)'; )
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all help setup unit unit-check test-math check bless spills quickstart bench install dist clean FORCE

# a part may bring targets of its own, and add programs that the tests need to CHECK_PROGRAMS
include $(sort $(wildcard tests/*/*.mk bench/*.mk examples/*/*.mk python/*.mk docs/*.mk))
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
