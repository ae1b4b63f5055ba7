"""The rule of `gps check` about the covariances of exploration: what is rounding, and what is none."""

from types import SimpleNamespace

import numpy as np
import pytest

from gps.conformance.algorithm import _find_bad_covariance

TURNED = np.array([[1.0, 1e-17], [3e-17, 1e-2]])
"""Symmetric but for the rounding of entries that cancel."""


def find(covariance) -> str:
    return _find_bad_covariance(SimpleNamespace(covariance=np.asarray(covariance)[None, None]))


def test_rounding_is_allowed():
    assert find(TURNED) == ""
    assert find(1e-12 * TURNED) == ""


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e-6])
def test_other_differences_and_what_is_no_number_are_not(wrong):
    covariance = np.eye(2)
    covariance[0, 1] = wrong
    assert "is not symmetric" in find(covariance)
    assert "is not symmetric" in find(np.full((2, 2), np.nan))
