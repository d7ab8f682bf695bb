# make demo    sets everything up; trains and tests the Multi-order RNN on real pictures; prints the paper's table; draws
# make benchmark   compares every annotation method on the whole of Open Clip Art; hours, goes on if stopped
# make test    sets everything up; lint, types, doctests, tests
#              T=tests/test_models for some of them; JOBS=1 for one process in place of one for each core, at most four
# make quick   the same without the tests marked slow, for use while writing
# make lint, make format    the checks of style and types alone; the formatter
# make mutants   changes one thing at a time in what computes, and counts what the tests notice; N=300 for more, N=0 for all
VENV ?= .venv
PYTHON ?= python3
CORES := $(shell nproc)
export OMP_NUM_THREADS ?= $(CORES)
# Processes that run tests, each with one thread.
JOBS ?= $(shell echo $$(($(CORES) < 4 ? $(CORES) : 4)))

# Make takes a space for the end of a name unless it is escaped; the shell wants quotes.
empty :=
space := $(empty) $(empty)
READY := $(subst $(space),\ ,$(VENV))/.ready
BIN = $(VENV)/bin
RUN = "$(BIN)/python"
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist worksteal --doctest-modules
TESTS = $(or $(T),morn_plugin tests)

.PHONY: benchmark clean demo format lint mutants quick setup test
.DELETE_ON_ERROR:

setup: $(READY)

$(READY): setup.py constraints.txt tools/make_env.sh
	PYTHON="$(PYTHON)" bash tools/make_env.sh "$(VENV)"
	touch "$(VENV)/.ready"

demo: setup
	PYTHON="$(BIN)/python" bash tools/demo.sh

benchmark: setup
	test -f data/openclipart/train_fit.json || $(RUN) tools/dataset_converters/openclipart.py data/openclipart --download
	test -f work_dirs/pretrained/efficientnet-lite0.pth || $(RUN) tools/model_converters/efficientnet_lite.py \
		work_dirs/pretrained/efficientnet-lite0.pth
	$(RUN) tools/benchmark/benchmark.py data/openclipart --title "Open Clip Art"

lint: setup
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

format: setup
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

test: lint
	$(PYTEST) $(TESTS)

quick: lint
	$(PYTEST) -m 'not slow' $(TESTS)

mutants: setup
	$(RUN) tools/mutants.py $(if $(N),--number $(N))

clean:
	rm -rf "$(VENV)" mutants work_dirs
