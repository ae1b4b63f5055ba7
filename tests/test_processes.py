"""The child processes of tests, also where a script has started the tests in the background."""

import signal
import time

import pytest
from helpers.processes import python, run_python

SAYS = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"


@pytest.mark.parametrize("here", [signal.SIG_IGN, signal.default_int_handler])
def test_a_child_takes_sigint_even_if_it_is_ignored_here(here):
    before = signal.signal(signal.SIGINT, here)
    try:
        assert run_python("-c", SAYS).stdout == "True\n"
        assert signal.getsignal(signal.SIGINT) is here
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_child_has_a_time_limit():
    begun = time.monotonic()
    with python("-c", "import time; time.sleep(1000)", seconds=0.5) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert time.monotonic() - begun < 30
