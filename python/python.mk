# The Python package, put together in $(BUILD)/python/tessera: PYTHONPATH=$(BUILD)/python uses it.
#
# The extension holds position-independent builds of what a graph is made and printed with: support/, ir/, frontend/ and nothing of LLVM.
PY_OUT     := $(BUILD)/python/tessera
PY_FILES   := $(sort $(shell find python/tessera -type f \( -name '*.py' -o -name '*.pyi' -o -name py.typed \) 2>/dev/null))
PIC_SRC    := $(foreach f,support ir frontend/graph_text frontend/graph_pack,$(sort $(wildcard $(f)/*.c)))
PY_CORE    := $(sort $(wildcard python/core/*.c))
PIC_OBJ    := $(PIC_SRC:%=$(BUILD)/obj/pic/%.o)
PY_OBJ     := $(PY_CORE:%=$(BUILD)/obj/pic/%.o)
# the headers of any Python from 3.11 on serve: the stable ABI is asked for
PY_INCLUDE  = $(shell for p in $(PY) python3; do $$p -c 'import os, sysconfig; p = sysconfig.get_path("include"); os.path.exists(p + "/Python.h") and print(p)' \
              2>/dev/null; done | head -n 1)

$(BUILD)/obj/pic/%.c.o: %.c | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(PY_CFLAGS) -fPIC -fvisibility=hidden $(DEPS) -c $< -o $@
$(PY_OBJ): PY_CFLAGS = -isystem $(PY_INCLUDE)
$(PY_OBJ): | $(BUILD)/obj/pic/headers
$(BUILD)/obj/pic/headers:
	@scripts/setup.sh python
	@mkdir -p $(@D)
	@touch $@

$(BUILD)/pic.a: $(PIC_OBJ) $(BUILD)/obj/pic.list
	@rm -f $@
	$(Q)ar rcsD $@ $(filter %.o,$^)
$(BUILD)/obj/pic.list: FORCE
	@mkdir -p $(@D)
	@echo '$(PIC_SRC) $(PY_CORE) $(PY_FILES)' | cmp -s - $@ || echo '$(PIC_SRC) $(PY_CORE) $(PY_FILES)' > $@

# what a running Python has mapped is replaced, not written over
$(PY_OUT)/_core.abi3.so: $(PY_OBJ) $(BUILD)/pic.a $(BUILD)/obj/pic.list
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -static-libgcc -Wl,--exclude-libs,ALL -o $@.new $(filter %.o,$^) $(BUILD)/pic.a -lm -lpthread && mv $@.new $@

$(PY_FILES:python/tessera/%=$(PY_OUT)/%): $(PY_OUT)/%: python/tessera/%
	@mkdir -p $(@D)
	@cp $< $@

# the compiler and its helper as they are here, and what C programs include; a wheel has copies
PY_BIN := $(PY_OUT)/bin/tsc $(PY_OUT)/bin/tsc-load
PY_HEADERS := $(patsubst %,$(PY_OUT)/%,$(sort $(wildcard include/tessera/*.h)))
$(PY_BIN): $(PY_OUT)/bin/%: $(BUILD)/%
	@mkdir -p $(@D)
	@ln -sf $(abspath $<) $@
$(PY_HEADERS): $(PY_OUT)/%: %
	@mkdir -p $(@D)
	@cp $< $@

# PTX alone: any driver compiles so little in no time, and the file is the same wherever it is made
$(PY_OUT)/_boot.so: python/boot.tg $(BUILD)/tsc
	@mkdir -p $(@D)
	$(Q)$(BUILD)/tsc $< -o $(BUILD)/obj/boot.so --name tessera_boot --arch sm_80 --ptxas none && cp $(BUILD)/obj/boot.so $@.new && mv $@.new $@

CHECK_PROGRAMS += python-tests
python: $(PY_OUT)/_core.abi3.so $(PY_OUT)/_boot.so $(PY_BIN) $(PY_HEADERS) $(PY_FILES:python/tessera/%=$(PY_OUT)/%)
	@cd $(PY_OUT) && find . -type f \( -name '*.py' -o -name '*.pyi' \) | while read -r f; do [ -e '$(CURDIR)/python/tessera/'"$$f" ] || rm -f "$$f"; done

# dist/tessera_ml-VERSION-cp311-abi3-manylinux_…_x86_64.whl: the same tree gives the same bytes
wheel: python
	@$(firstword $(wildcard $(PY)) python3) python/tools/make_wheel.py $(BUILD) $(or $(DIST_DIR),dist)
# and what tests/python takes beside the package
python-tests: python $(BUILD)/fakecuda/libcuda.so.1 $(BUILD)/fakecuda/toy $(BUILD)/fakecuda/toy.so $(BUILD)/fakecuda/toy_kernels.o
.PHONY: python wheel python-tests
