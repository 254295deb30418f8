# The documentation as pages for a browser, in $(DOCS_OUT): the files of this folder, and what sphinx reads off the Python package and the
# headers. A warning is an error. Pages that did not change since the last time are not made again.
DOCS_OUT ?= $(BUILD)/docs

docs:
	@scripts/setup.sh docs
	@$(MAKE) --no-print-directory $(JOBS) python
	@PYTHONPATH=$(abspath $(BUILD))/python $(PY) -m sphinx -q -W --keep-going -b html -d $(DOCS_OUT).trees docs $(DOCS_OUT)
	@echo '$(DOCS_OUT)/index.html'
.PHONY: docs
