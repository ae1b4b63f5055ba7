"""`gps report` of 20 iterations x 4 conditions x 100 steps: seconds and size; and the cost of `--live` for a run."""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.iteration import EXPERIMENT
from benchmarks.timing import print_table

_GPS = [sys.executable, "-m", "gps.cli"]
_REACHER = EXPERIMENT.parent / "reacher"
_ITERATIONS, _ROUNDS = 30, 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [*_GPS, "run", str(EXPERIMENT), "--iterations", "20", "--quiet", "--out", folder]
        run = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        rows = [("1st", *_time_report(run)), ("2nd", *_time_report(run)), ("3rd", *_time_report(run))]
    print_table("gps report, 20 iterations x 4 conditions x T = 100", ["time", "wall clock, s", "MB"], rows)

    cost: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for k in range(2 * _ROUNDS + 1):
        live = k % 2 == 1
        spent = _time_run(live)
        if k:  # the first one compiles
            cost[live].append(spent)
    plain, live = ([statistics.median(column) for column in zip(*cost[kind], strict=True)] for kind in (False, True))
    more = [f"{100 * (b / a - 1):+.1f} %" for a, b in zip(plain, live, strict=True)]
    rows = [("plain", *plain), ("--live, with a page open", *live), ("cost", *more)]
    title = f"gps run experiments/reacher, {_ITERATIONS} iterations, median of {_ROUNDS}"
    print_table(title, ["", "wall clock, s", "processor, s"], rows)


def _time_report(run: str) -> tuple[float, float]:
    """Return the seconds of `gps report` and the size of the page in MB."""
    start = time.perf_counter()
    path = subprocess.run([*_GPS, "report", run], capture_output=True, text=True, check=True).stdout.strip()
    return time.perf_counter() - start, Path(path).stat().st_size / 1e6


def _time_run(live: bool) -> tuple[float, float]:
    """Return wall-clock and processor seconds of a run, with `live` also served to a client that acts like the page."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*_GPS, "run", str(_REACHER), "--iterations", str(_ITERATIONS), "--quiet", "--out", folder]
        command += ["--live"] * live
        start, before = time.perf_counter(), _read_processor_seconds()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            if live:
                url = process.stderr.readline().split()[-1]
                threading.Thread(target=_poll_page, args=(url,), daemon=True).start()
            process.wait()
        return time.perf_counter() - start, _read_processor_seconds() - before


def _read_processor_seconds() -> float:
    """Return the processor seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _poll_page(url: str) -> None:
    """Send the requests of a page until the server ends: poll each second, and fetch what is new."""
    known: list[int] = []
    try:
        _get(url)
        while True:
            stamps = json.loads(_get(f"{url}version"))["stamps"]
            if stamps != known:
                _get(f"{url}overview/{len(known)}")
                _get(f"{url}iteration/{len(stamps) - 1}")
                known = stamps
            time.sleep(1)
    except (urllib.error.URLError, ConnectionError, KeyError):
        return


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()
