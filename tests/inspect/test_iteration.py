"""An iteration in words: the side of the global model."""

import dataclasses

import numpy as np
from helpers.records import record

from gps.inspect.iteration import describe_iteration
from gps.records import ModelRecord


def describe(horizon_error):
    model = ModelRecord(name="linear", one_step_error=horizon_error[0], horizon_error=horizon_error)
    return describe_iteration(dataclasses.replace(record(), model=model), [0])


def test_the_error_ahead_is_that_of_the_longest_prediction():
    text = describe(np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]))
    assert "3   steps   error 0.500 to 0.600" in text or "3   steps   error 0.5 to 0.6" in text


def test_an_episode_that_ended_before_has_a_shorter_one():
    text = describe(np.array([[0.1, 0.2], [0.3, 0.4], [np.nan, np.nan]]))
    assert "2   steps   error" in text and "3   steps" not in text


def test_without_any_prediction_nothing_is_said():
    assert "steps   error" not in describe(np.full((3, 2), np.nan))
