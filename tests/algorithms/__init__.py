"""Tests of the algorithms. They are a package, because another folder has a `test_contract.py` too."""
