# the AVX-512 matmul text against this machine's peak, by tests/suites/peak.py
$(BUILD)/bench/%: $(BUILD)/obj/bench/%.c.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS)

CHECK_PROGRAMS += $(BUILD)/bench/gemm_tile
