"""What several tests need: made-up records and runs, known problems, small experiments, child processes."""
