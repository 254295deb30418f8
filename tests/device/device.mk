# What `make check DEVICE=cuda` and `make bench DEVICE=cuda` run, and `make dist` packs, beside the scripts: the differential tests in one program (they
# carry the compiler, and one copy of it is enough), and two small programs that run artifacts without Python: for sanitizers and the host's costs,
# and for the way to a first answer.
DEVICE_TESTS    := test_diff test_graphs test_invariance
DEVICE_PROGRAMS := $(BUILD)/device/tests $(BUILD)/device/host $(BUILD)/device/first
CHECK_PROGRAMS  += $(DEVICE_PROGRAMS)

$(BUILD)/obj/tests/device/%.main.o: $(BUILD)/obj/tests/unit/%.c.o
	@mkdir -p $(@D)
	$(Q)objcopy --redefine-sym main=$*_main --keep-global-symbol=$*_main $< $@
$(BUILD)/device/tests: $(BUILD)/obj/tests/device/tests.c.o $(DEVICE_TESTS:%=$(BUILD)/obj/tests/device/%.main.o) $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $(filter %.o,$^) -Wl,--start-group $(ARCHIVES) -Wl,--end-group -Wl,-Bstatic $(filter-out -lm -lpthread,$(LIBS)) -Wl,-Bdynamic -lm -lpthread
$(BUILD)/device/host: $(BUILD)/obj/tests/device/host.c.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $< -ldl -lpthread -lm
$(BUILD)/device/first: $(BUILD)/obj/bench/gpu/first.c.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $< -ldl
