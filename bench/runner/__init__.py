"""Running the jobs of a study: from question to record, on one machine or many."""
