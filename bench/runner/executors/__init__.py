"""The executors, which run jobs: each module has one, with run_all(queue, runner, progress)."""
