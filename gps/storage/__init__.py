"""Files that survive a kill: folders written whole with checksums, and arrays without pickles."""
