"""Where jobs run: each module has an executor with run_all(queue, runner, progress)."""
