"""onebuf and what a user would pick instead, side by side: same runtime, same server, one run.

`python -m tools.bench` measures all, with `check` the counted figures of onebuf against those in
docs/bench.json, with `soak` a hundred thousand publishes. What is counted is the same on every
run; times are not. The clients are in tests/bench.
"""
