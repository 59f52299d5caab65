"""Where jobs run: every module offers run_all(jobs) -> Iterator[Record]."""
