# make demo   a bundled scene through the daemon, scores as they come
# make test   the tests, from a bare clone
# make test-oldest, make test-newest   the same with the oldest and the newest libraries that pyproject.toml admits
# make test-systemd   the service under a real systemd in Debian trees of its own, as root: 7 minutes, 8 GB
# make test-systemd-serve   the same for the services of a cluster: 10 minutes
# make test-systemd-house   the same for what a house adds (docs/recipes.md): 4 minutes
# make test-containers   images, and the daemon in a container, with podman, as root: 20 minutes, 12 GB
# make gpu    what an NVIDIA GPU makes of all this, measured, under 8 minutes; a rehearsal where there is none
# All make .venv, install what they need and fetch the models first; a second run starts at once.

PYTHON ?= python3
BIN := .venv/bin
DATA ?= data
SYSTEM := libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins espeak-ng systemd libzmq3-dev mosquitto chromium

.PHONY: demo test test-oldest test-newest test-systemd test-systemd-serve test-systemd-house test-containers test-slow soak fuzz inputs bench gpu flame bench-wire bench-rooms bench-views bench-dashboard bench-browser ear eval bench-train screenshots first-hour site release check installed setup system models clean

demo: installed models
	$(BIN)/sadstream demo

# Many tests wait, so three at a time keep two cores busy. A file's tests run in order in one process.
WORKERS ?= 3
test: setup system models
	$(BIN)/sadstream models fetch resemblyzer
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The tests with the oldest and with the newest libraries that pyproject.toml admits, each in an environment of its own
# (.venv-oldest, .venv-newest; 8 GB with PyPI's PyTorch, UV_TORCH_BACKEND=cpu for the one of pytorch.org): 15 minutes. Keeps
# what it tested in docs/ranges.json. TESTS=tests/scoring PYTHON=python3.13 make test-newest runs some of them, or another Python.
test-oldest test-newest: setup system models
	$(BIN)/python -m pip install --quiet --group ranges
	$(BIN)/python tests/ranges.py $(@:test-%=%) --python $(PYTHON) $(if $(TESTS),$(TESTS),--write)

# STARTS, KILLS, FREEZES, INSTALLATIONS and REBOOTS are its numbers of trials.
test-systemd test-systemd-serve test-systemd-house: SYSTEM += systemd-container debootstrap
test-systemd: setup system models
	PYTHONPATH=tests $(BIN)/python tests/systemd/live.py

# Apart from it, and not in .ci/run: Ray in a tree takes two minutes to install, and one for each of its starts.
test-systemd-serve: setup system models
	PYTHONPATH=tests $(BIN)/python tests/systemd/live_serve.py

test-systemd-house: setup system models
	PYTHONPATH=tests $(BIN)/python tests/systemd/live_house.py

# Apart from it, and not in .ci/run. STARTS, STOPS and KILLS are its numbers of trials.
test-containers: SYSTEM += podman runc debootstrap
test-containers: setup system models
	PYTHONPATH=tests:tests/systemd $(BIN)/python tests/containers/live_containers.py

test-slow: setup system models
	$(BIN)/python -m pytest -m slow

# A day of audio as fast as it goes, then half an hour in real time; SOAK_HOURS and SOAK_MINUTES change that.
soak: setup system models
	$(BIN)/python -m pytest -m slow -s tests/daemon/test_soak.py

# Mutations of valid inputs, fed to whatever reads them; ends with 1 where one gives a traceback, hangs for 10 s or takes
# 200 MB. SEED, TARGET and CASE repeat what it prints: make fuzz SEED=4f2a TARGET=recordings CASE=812
CASES ?= 100000
fuzz: setup
	PYTHONPATH=tests $(BIN)/python -P -m fuzz --cases $(CASES) --seed '$(SEED)' --target '$(TARGET)' $(if $(CASE),--case $(CASE))

# Recordings, pipes and paths as the world leaves them: the table in docs/reliability.md. Six minutes on two idle cores.
inputs: setup models
	$(BIN)/python -m pip install --quiet --editable '.[av]'
	$(BIN)/python bench/inputs.py --write

# Needs speech with known words: DATA=DIR with english/ and speech/, each with a manifest.csv (path, corpus, speaker,
# transcript) and its recordings. Three quarters of an hour on two cores that have nothing else to do.
WORDS = $(BIN)/python bench/words.py --json docs/bench-words.json --write
bench: setup models
	$(BIN)/python -m pip install --quiet --editable '.[bench,plot]'
	$(WORDS) $(DATA)/english --segments 0 --repeats 1 --name headline
	$(WORDS) $(DATA)/english --segments 150 --repeats 1 --name second-language --corpora speechocean762_adult
	$(WORDS) $(DATA)/speech --segments 100 --repeats 1 --name ravdess --corpora ravdess
	$(WORDS) $(DATA)/speech --segments 60 --repeats 1 --name nemo-base --corpora nemo --model base --language pl
	$(WORDS) $(DATA)/english --repeats 1 --name repeats --corpora repeats
	$(BIN)/python bench/streams.py $(DATA)/english --json docs/bench-streams.json --plot docs/bench-streams.svg --write

# Needs PyTorch's build for CUDA: that is pip's own for Linux, unless an index names the one for CPUs (the installer's
# --torch-backend cpu); `sadstream doctor` says which it found. No network after setup. Without a GPU it says so and
# ends with 69; GPU="--data DIR" takes other speech. A rehearsal: python bench/gpu.py --device cpu --scale small
GPU_SECONDS ?= 420
gpu: setup models
	$(BIN)/sadstream models fetch tiny.en base
	$(BIN)/python bench/gpu.py --seconds $(GPU_SECONDS) --json docs/bench-gpu.json --write $(GPU)

# Where each millisecond goes: of a segment, of the start, of silence. Three minutes on two cores that have nothing else to do.
flame: setup models
	$(BIN)/python bench/flame.py --json docs/bench-flame.json --svg docs/flame-segment.svg --write

# Sixteen rooms for an hour, in real time, in each of which somebody talks a fifth of it; ROOMS="--minutes 3" tries it.
bench-rooms: setup models
	$(BIN)/python bench/rooms_hour.py $(DATA)/english --json docs/bench-rooms.json --write $(ROOMS)

bench-wire: setup
	$(BIN)/python bench/wire.py --json docs/bench-wire.json

bench-dashboard: setup system
	PYTHONPATH=tests $(BIN)/python -P bench/dashboard.py --json docs/bench-dashboard.json

# The bundled scene through Debian's Chromium, three times, beside its file: five minutes.
bench-browser: setup system models
	PYTHONPATH=tests $(BIN)/python -P bench/browser.py

# Needs Debian's chromium.
bench-views: setup models
	$(BIN)/python bench/views.py --json docs/bench-views.json

# Seconds an epoch of each system on a simulated IEMOCAP of full size.
bench-train: setup
	$(BIN)/sadstream-train benchmark --preset thesis-small
	$(BIN)/sadstream-train benchmark --preset thesis

# Both checkpoints, their cards and every figure of model card and evaluation, from the open corpora that DATA names: on two
# cores an hour to hear them once, half an hour for the weights, ten minutes for the cards, then hours for the rest. What was done
# lies in FIGURES and is not done again; after an interruption the same command goes on. EVAL_SCALE=0.02 is a quick look, kept apart.
FIGURES ?= build/figures
EVAL_SCALE ?= 1
SHIPPED := sadstream/scoring/fusion
SCALED := $(FIGURES)/scale-$(EVAL_SCALE)
PARTS := noise speech language talk robustness signal clean channels voices
ear: $(FIGURES)/default.md $(FIGURES)/open.md eval
eval: $(FIGURES)/default-days.md $(FIGURES)/open-days.md $(SCALED)/trust.md $(PARTS:%=$(SCALED)/%.md)

$(FIGURES)/default.md $(FIGURES)/default-days.md: RECIPE = configs/open.toml
$(FIGURES)/open.md $(FIGURES)/open-days.md: RECIPE = configs/commercial.toml

EMOTIONS = $(BIN)/sadstream-train emotions --data $(DATA) --config $(RECIPE) --checkpoint $(FIGURES)/default.safetensors \
	--out $(SHIPPED)/default.safetensors --force > $(FIGURES)/emotions.md
$(FIGURES)/default.md $(FIGURES)/open.md: $(FIGURES)/%.md: | setup models
	mkdir -p $(FIGURES)
	$(BIN)/sadstream-train open --data $(DATA) --config $(RECIPE) --out $(FIGURES)/$*.safetensors --force
	$(if $(filter default,$*),$(EMOTIONS),cp $(FIGURES)/$*.safetensors $(SHIPPED)/$*.safetensors)

$(FIGURES)/default-days.md $(FIGURES)/open-days.md: $(FIGURES)/%-days.md: $(SHIPPED)/%.safetensors | setup models
	mkdir -p $(FIGURES)
	$(BIN)/sadstream-train days --data $(DATA) --config $(RECIPE) --checkpoint $< > $@.part
	mv $@.part $@

$(SCALED)/trust.md: | setup models
	mkdir -p $(@D)
	$(BIN)/sadstream-train trust --data $(DATA) --scale $(EVAL_SCALE) > $@.part
	mv $@.part $@

$(PARTS:%=$(SCALED)/%.md): $(SCALED)/%.md: $(SHIPPED)/default.safetensors | setup models
	$(BIN)/sadstream models fetch resemblyzer
	mkdir -p $(@D)
	$(BIN)/sadstream-train gates --data $(DATA) --part $* --scale $(EVAL_SCALE) > $@.part
	mv $@.part $@

# Every picture in README and docs, of the real program; needs Debian's chromium.
screenshots: setup models
	$(BIN)/python pictures/watch.py docs/watch.svg
	$(BIN)/python pictures/report.py sadstream/cli/demo/scene/scene.flac docs/report.png
	PYTHONPATH=tests $(BIN)/python -P pictures/dashboard.py
	PYTHONPATH=tests $(BIN)/python -P pictures/browser.py

# The newcomers of docs/first-hour.md: typed anew, half an hour, 1.9 GB at a time; needs git, mosquitto, espeak-ng, gcc, npm and jq.
first-hour:
	$(PYTHON) bench/first_hour.py --write

# The documentation as a site, in build/site; strict, as the tests build it.
site: setup
	$(BIN)/python -m mkdocs build --strict --quiet

# dist/: sdist, wheel, what they are made of, checksums (docs/releasing.md). REHEARSE=1 needs no tag.
release:
	$(PYTHON) deploy/release.py $(if $(REHEARSE),--rehearse)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

installed: .venv/.installed
setup: .venv/.developed

# What a user needs. openai-whisper asks for numba and triton, 1.2 GB, for the times of single words, which nobody here
# asks it for: so it comes without, and asks for neither when an extra is installed later. Modules that are used compile
# themselves at their first import; the rest, 200 MB of it, need not.
# A browser's microphone (extra web, 5 MB) is there too: not everybody who tries this has another one.
NEEDS := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")
.venv/.installed: pyproject.toml $(wildcard .git/refs/tags/*)
	rm -rf *.egg-info  # of builds of before, whose version would be said
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --no-deps "$$($(BIN)/python -c '$(NEEDS)' | grep openai-whisper)"
	sed -i -E '/^Requires-Dist: (numba|triton)/d' .venv/lib/python3*/site-packages/openai_whisper-*.dist-info/METADATA
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[web]'
	touch $@

# What a developer needs besides: extras, linters, what drives a browser; and numba, without which a test shows nothing.
.venv/.developed: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[cluster,dashboard,plot,train]' --group dev numba
	$(BIN)/python -m compileall -q -j 0 .venv/lib || true  # what thousands of processes import, where nobody may write it later
	touch $@

# What needs root is installed when it can be; a recording needs none of it.
system:
	@missing=''; for package in $(SYSTEM); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing >/dev/null \
	    || echo "could not install:$$missing; the tests that need it are skipped"; \
	  else echo "the microphone and some tests need: sudo apt-get install$$missing"; fi; \
	fi

models: installed
	$(BIN)/sadstream models fetch

clean:
	rm -rf .venv build dist *.egg-info
