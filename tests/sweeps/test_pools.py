"""The workers of a pool end with the process that opened it, however that ends."""

import os
import subprocess
from pathlib import Path

from helpers.processes import python, wait_until

PROGRAM = """
import os, sys, time
from gps.sweeps.pools import open_pool

def work(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(600)

with open_pool("local", 2, None) as pool:
    pool.call(work, [sys.argv[1]] * 2, 2)
"""


def test_workers_end_with_their_parent(tmp_path):
    (tmp_path / "ids").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    with python(tmp_path / "program.py", tmp_path / "ids", stderr=subprocess.DEVNULL) as parent:
        wait_until(lambda: len(os.listdir(tmp_path / "ids")) == 2)
        parent.kill()
        parent.wait(30)
    workers = [int(name) for name in os.listdir(tmp_path / "ids")]
    wait_until(lambda: not any(map(runs, workers)), seconds=15)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
