# Fuzzing (docs/testing.md). `make check` replays seeds and former crashes with plain programs; `make fuzz` builds libFuzzer programs with
# clang and sanitizers, `make fuzz-run N=1000000` runs N inputs through each (TARGETS="tg tile" for some of them).
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
TARGETS    ?= $(FUZZ_NAMES)
N          ?= 100000
REPLAYS    := $(FUZZ_NAMES:%=$(BUILD)/fuzz/replay_%)
CHECK_PROGRAMS += $(REPLAYS)

$(REPLAYS): $(BUILD)/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.c.o $(BUILD)/obj/tests/fuzz/replay.c.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS)

# everything the targets reach, compiled once more for the fuzzer; LLVM is not among it
FUZZ_CC    ?= $(LLVM_PREFIX)/bin/clang
FUZZ_FLAGS := -std=c17 -O1 -g $(WARN) -D_GNU_SOURCE $(INCLUDES) -DTS_VERSION='"$(VERSION)"' -fno-omit-frame-pointer \
              -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_DIRS  := support ir frontend/graph_text middle/rewrite middle/tiler
FUZZ_SRC   := $(foreach f,$(FUZZ_DIRS),$(filter %.c,$(call sources,$f))) emit/plan_check.c
FUZZ_OBJ   := $(FUZZ_SRC:%=$(BUILD)/fuzz/obj/%.o)
$(BUILD)/fuzz/obj/%.o: % | $(GENERATED)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(DEPS) -c $< -o $@
$(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz_%): $(BUILD)/fuzz/fuzz_%: $(BUILD)/fuzz/obj/tests/fuzz/fuzz_%.c.o $(FUZZ_OBJ) $(BUILD)/obj/middle/tiler/db_blob.S.o
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ -lyaml -lz -lm

fuzz: $(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz_%)
	@:

# new inputs and crashes stay in $(BUILD)/fuzz; one that crashed goes to tests/fuzz/corpus/NAME with its fix
fuzz-run: $(TARGETS:%=fuzz-run-%)
$(FUZZ_NAMES:%=fuzz-run-%): fuzz-run-%: $(BUILD)/fuzz/fuzz_%
	@mkdir -p $(BUILD)/fuzz/new/$* $(BUILD)/fuzz/crash/$*
	@python3 tests/fuzz/seeds.py $* $(BUILD)/fuzz/seeds/$*
	$< -runs=$(N) -timeout=10 -rss_limit_mb=3000 -malloc_limit_mb=2000 -detect_leaks=0 -max_len=8192 -print_final_stats=1 -verbosity=0 \
	  $(if $(wildcard tests/fuzz/$*.dict),-dict=tests/fuzz/$*.dict) -artifact_prefix=$(BUILD)/fuzz/crash/$*/ $(BUILD)/fuzz/new/$* $(BUILD)/fuzz/seeds/$* $(FUZZ_ARGS)
.PHONY: fuzz fuzz-run $(FUZZ_NAMES:%=fuzz-run-%)
-include $(FUZZ_OBJ:.o=.d)
