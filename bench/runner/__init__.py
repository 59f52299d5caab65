"""Running the jobs of a study: from cells to records, on one machine or many."""
