# Planted faults, one at a time, that the tests must notice: hours on two cores. MUTANT=name for one of them.
.PHONY: mutants
mutants:
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory $(JOBS) all $(CHECK_PROGRAMS)
	@$(PY) tests/mutants/run.py --build $(BUILD) $(if $(MUTANT),--only '$(MUTANT)')
