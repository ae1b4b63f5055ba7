"""Ctrl-C and SIGTERM are never lost, wherever the main thread is when they come."""

import os
import signal

import pytest

from gps.backend import jax
from gps.commands._interruption import Terminated, print_interruption, raise_on_signals

SIGNALS = [
    (signal.SIGINT, KeyboardInterrupt, ("interrupted", 130)),
    (signal.SIGTERM, Terminated, ("ended by SIGTERM", 143)),
]


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """The usual handlers, also where a script has started the tests with SIGINT ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class SignalledWhenDeleted:
    """An object in whose destructor a signal reaches the process: Python drops what a destructor raises."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)
        sum(range(1000))  # the handler runs between two instructions of this function


@pytest.mark.parametrize(("number", "error", "words"), SIGNALS)
def test_a_signal_ends_the_block(capsys, number, error, words):
    with pytest.raises(error) as caught, raise_on_signals():
        os.kill(os.getpid(), number)
    how, code = words
    assert print_interruption(caught.value, "2 of 3 done") == code
    assert capsys.readouterr().err.strip() == f"gps: {how}; 2 of 3 done"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "error"), [(number, error) for number, error, _ in SIGNALS])
def test_what_a_destructor_swallows_is_raised_before_the_next_stage(number, error):
    with raise_on_signals() as interruption:
        doomed = SignalledWhenDeleted(number)
        interruption.on_stage(0, "sample")
        del doomed  # no exception comes out of this line
        with pytest.raises(error):
            interruption.on_stage(0, "fit")


@pytest.mark.parametrize(("number", "error"), [(number, error) for number, error, _ in SIGNALS])
def test_what_a_library_turns_into_an_error_of_its_own_is_still_a_signal(number, error):
    """JAX makes a ValueError of whatever is raised within a callback."""

    def called_by_jax(x):
        os.kill(os.getpid(), number)
        return x

    with pytest.raises(error), raise_on_signals():
        jax.pure_callback(called_by_jax, jax.ShapeDtypeStruct((), float), 1.0)


def test_an_error_without_a_signal_stays_an_error():
    with pytest.raises(ZeroDivisionError), raise_on_signals():
        raise ZeroDivisionError


def test_the_former_handlers_return():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with raise_on_signals():
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) != before
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with raise_on_signals():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
