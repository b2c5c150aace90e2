# gaitd: `make help` lists what there is to make.

PYTHON ?= python3
VENV ?= .venv
EXAMPLE ?= lite3_walk
BUNDLE ?= examples/$(EXAMPLE)/$(EXAMPLE).gaitd
MODEL := $(addprefix --mjcf ,$(wildcard examples/$(EXAMPLE)/robot.xml))
GROUND_lite3_steps := --terrain steps --height-map height:1.0x0.6
CONTROLLER := build/cpp/lite3_controller
BIN := $(VENV)/bin
# A CPU build of PyTorch is enough. Its own index has one; where that cannot be reached, whatever pip finds.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
install_torch = $(BIN)/pip install -q --retries 0 --timeout 10 --index-url $(TORCH_INDEX) '$(TORCH)' 2>/dev/null \
    || $(BIN)/pip install -q '$(TORCH)'
MINUTES ?= 10
TRAIN ?= examples/lite3_trained/train.yaml

CPP_PACKAGES := cmake g++ make pkg-config libzmq3-dev cppzmq-dev 'libmsgpack-cxx-dev|libmsgpack-dev'
DEMO_PACKAGES := $(CPP_PACKAGES) python3-venv libegl1 libgl1-mesa-dri
TEST_PACKAGES := $(DEMO_PACKAGES) curl git clang 'libclang-rt-dev|libclang-common-14-dev' valgrind xvfb
DEB_PACKAGES := git binutils binutils-aarch64-linux-gnu lintian mmdebstrap patchelf
TARGET_PACKAGES := $(DEB_PACKAGES) gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static systemd-container
BOARD_PACKAGES := $(TARGET_PACKAGES) arch-test cpio device-tree-compiler distro-info-data e2fsprogs \
    g++-aarch64-linux-gnu kmod qemu-system-arm
MONITORING_PACKAGES := prometheus chromium fonts-noto-cjk
FAULT_PACKAGES := $(DEMO_PACKAGES) stress-ng

.DEFAULT_GOAL := help
.PHONY: help demo forge animation train test test-thorough test-target test-trainers test-monitoring rehearse deb rknn lint format bench growth tail faults \
    failovers sessions soak evidence fuzz step-growth model proto pictures references site cpp clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(VENV)/.demo cpp  ## walk a simulated robot through the whole chain, kill the worker, then the standby; EXAMPLE=wheels, BUNDLE=..., BACKEND=rknn, EMBEDDED=1
ifneq ($(EMBEDDED),)
	$(BIN)/gaitforge demo --bundle $(BUNDLE) --controller $(CONTROLLER) --output build/demo-embedded --embedded
else ifeq ($(BACKEND),rknn)
	PYTHONPATH=tests/target:$$PYTHONPATH $(BIN)/python -m standin.demo --bundle $(BUNDLE) \
	    --controller $(CONTROLLER) --output build/demo
else
	$(BIN)/gaitforge demo --bundle $(BUNDLE) --controller $(CONTROLLER) $(MODEL) $(GROUND_$(EXAMPLE)) --output build/demo
endif

test: $(VENV)/.test cpp rknn  ## all tests but those of test-target; as root also the ones with systemd and emulated aarch64
	@[ "$$(id -u)" != 0 ] || tools/debian-packages $(TARGET_PACKAGES)
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-target: $(VENV)/.test cpp  ## as root: the package on Ubuntu 20.04 to 24.04 and on a whole emulated arm64 board
	@tools/debian-packages $(BOARD_PACKAGES)
	$(BIN)/python -m pytest tests/target -m board --must-run

test-thorough: $(VENV)/.test cpp rknn  ## more cases of what make test checks: planted bugs, seeds, robots, steps
	$(BIN)/python -m pytest -n 2 --dist loadscope -m thorough

model: $(VENV)/.test  ## the model of the safety logic with larger bounds, with a standby, with several policies, and with two workers
	GAITD_MODEL=2,1,2 $(BIN)/python -m pytest tests/model -s -k every_property --must-run
	GAITD_MODEL=1,1,2 GAITD_MODEL_WORKERS=standby $(BIN)/python -m pytest tests/model -s -k every_property --must-run
	GAITD_MODEL=1,1,2 GAITD_MODEL_WORKERS=switch $(BIN)/python -m pytest tests/model -s -k every_property --must-run
	GAITD_MODEL=1,1,2 GAITD_MODEL_WORKERS=two $(BIN)/python -m pytest tests/model -s -k every_property --must-run

forge: $(VENV)/.forge cpp  ## gaitforge with PyTorch, in .venv: . .venv/bin/activate

animation: demo  ## docs/images/demo.webp, from a run of the demo
	$(BIN)/python tools/animation.py build/demo docs/images/demo.webp

train: $(VENV)/.forge  ## train the walking policy of TRAIN=examples/lite3_trained/train.yaml, and make a bundle of it
	$(BIN)/pip install -q -e '.[forge,onnx,learn]'
	$(BIN)/gaitforge train $(TRAIN) --against $(BUNDLE)

test-trainers: $(VENV)/.test build/trainers/.made  ## three minutes of training; what rsl_rl, skrl and stable-baselines3 write
	$(BIN)/pip install -q -e '.[learn]'
	$(BIN)/python -m pytest tests/training tests/forge/train -m trainers --must-run

test-monitoring: $(VENV)/.test  ## three gaitd under a real Prometheus, its rules, the dashboard; the page of gaitctl explain in a browser
	@tools/debian-packages $(MONITORING_PACKAGES)
	$(BIN)/python -m pytest tests/monitoring tests/quickstart -m monitoring --must-run

rehearse: $(VENV)/.test cpp  ## gaitctl rehearse, unattended, with the simulated robot: every row within its bound
	$(BIN)/python -m pytest -s tests/forge/stack/test_rehearse.py -m rehearse --must-run

deb: $(VENV)/.demo  ## the packages for the robot (arm64), a PC (amd64) and whoever builds a controller, in dist/
	@tools/debian-packages $(DEB_PACKAGES)
	$(BIN)/pip install -q -e '.[deb]'
	rm -f dist/gaitd*.deb
	$(BIN)/python packaging/build_deb.py --arch arm64 amd64 all
	lintian --fail-on error,warning,info --allow-root dist/gaitd*.deb

rknn: $(VENV)/.test  ## the isolated environment of the NPU's conversion toolkit
	@$(BIN)/gaitforge setup-rknn

lint: $(VENV)/.test  ## ruff, mypy and the rules of who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(VENV)/.test  ## lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.demo cpp  ## round trip times over both transports beside a bare echo and others, CPU, in build/bench
	$(BIN)/gaitforge latency --bundle $(BUNDLE) --echo build/cpp/echo_bench --output build/bench

growth: $(VENV)/.demo cpp  ## how age, CPU and memory grow with joints, history, parameters and recording, in build/growth
	$(BIN)/gaitforge growth --echo build/cpp/echo_bench --output build/growth

tail: $(VENV)/.demo cpp  ## what each real-time setting buys, above all for the slowest answers, in build/tail
	$(BIN)/gaitforge tail --bundle $(BUNDLE) --echo build/cpp/echo_bench --output build/tail

faults: $(VENV)/.demo cpp  ## inject every fault into the walking robot; the table is build/faults/table.md; EXAMPLE=wheels
	@tools/debian-packages $(FAULT_PACKAGES)
	$(BIN)/gaitforge faults --bundle $(BUNDLE) --controller $(CONTROLLER) $(MODEL) --output build/faults

failovers: $(VENV)/.demo cpp  ## let the worker fail 150 times while the robot walks; what a standby costs; build/failovers
	$(BIN)/gaitforge failovers --bundle $(BUNDLE) --controller $(CONTROLLER) --output build/failovers

soak: $(VENV)/.demo cpp  ## walk for MINUTES=10 with random commands, pushes and faults; every state accounted for
	$(BIN)/gaitforge soak --bundle $(BUNDLE) --controller $(CONTROLLER) --minutes $(MINUTES) --output build/soak

sessions: $(VENV)/.test  ## 2,000 sessions, one after the other: descriptors and memory of every process stay as they are
	GAITD_SESSIONS=2000 $(BIN)/python -m pytest -s tests/daemon/test_many_sessions.py --must-run

evidence: $(VENV)/.demo  ## the closed loops behind the defaults, in build/evidence/evidence.md
	$(BIN)/gaitforge evidence --bundle $(BUNDLE) --output build/evidence

fuzz: $(VENV)/.test  ## 10 million messages that violate the contract, then coverage-guided; FUZZ="--messages N --seconds S --seed X"
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ)

step-growth: $(VENV)/.test  ## a step's own work from 12 to 64 joints, one to ten inputs, two models; GROWTH="--against DAEMON"
	PYTHONPATH=tests $(BIN)/python -m growth $(GROWTH)

proto: $(VENV)/.test  ## what both languages and proto/README.md take from proto/contract.yaml
	$(BIN)/python proto/generate.py
	$(BIN)/python proto/golden/generate.py

pictures:  ## the drawings in docs/images, in two languages
	$(PYTHON) tools/pictures.py

references: $(VENV)/.test  ## docs/reference: every key, command and exit code, from the source
	$(BIN)/python tools/reference/generate.py

site: $(VENV)/.test  ## README and docs/ as pages in build/site; a link that leads nowhere is an error
	$(BIN)/python tools/site/build.py

cpp:  ## build the C++ client's examples
	@tools/debian-packages $(CPP_PACKAGES)
	@cmake -S proto/cpp -B build/cpp -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build build/cpp --parallel 2 >build/cpp/build.log 2>&1 || { cat build/cpp/build.log; exit 1; }

clean:  ## remove what was built, the virtual environment too
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

build/trainers/.made: tests/training/requirements.txt
	$(PYTHON) -m venv build/trainers/venv
	build/trainers/venv/bin/pip install -q -r $<
	for version in 3.3.0 5.5.1; do \
	    build/trainers/venv/bin/pip install -q --upgrade --no-deps \
	        --target build/trainers/rsl_rl_$${version%%.*} rsl-rl-lib==$$version || exit 1; \
	done
	touch $@

$(VENV)/.made:
	@tools/debian-packages python3-venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "gaitd needs Python 3.10 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@tools/debian-packages $(DEMO_PACKAGES)
	$(BIN)/pip install -q -e '.[forge,onnx,top]'
	touch $@

$(VENV)/.forge: $(VENV)/.demo pyproject.toml
	$(install_torch)
	$(BIN)/pip install -q -e '.[forge,onnx,train,top]'
	touch $@

$(VENV)/.test: $(VENV)/.forge pyproject.toml
	@tools/debian-packages $(TEST_PACKAGES)
	$(BIN)/pip install -q -e '.[forge,onnx,train,dev,deb,site]'
	touch $@
