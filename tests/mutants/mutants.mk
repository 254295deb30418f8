# Planted faults, one at a time, that the tests must notice: hours on two cores. MUTANT=name for one of them.
.PHONY: mutants
mutants: $(BUILD)/tsc
	@scripts/setup.sh test
	@$(PY) tests/mutants/run.py --build $(BUILD) $(if $(MUTANT),--only '$(MUTANT)')
