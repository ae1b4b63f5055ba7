"""Looking at runs: tables for the terminal and for files. Everything here is a view of the records."""
