# the digits example: train, compile, run
mlp:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(PY) examples/mlp/run.py --build $(BUILD)
.PHONY: mlp
