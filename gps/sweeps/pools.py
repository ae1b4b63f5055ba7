"""Pools of workers for a sweep: processes of this machine, or the workers of a Dask or Ray cluster.

All use joblib: a pool calls a function on items, a given number at a time, each in a separate process.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from gps.errors import SweepError, install_command, nearest

PATIENCE = 10
"""Seconds within which a cluster must answer."""

_IDLE = 30  # seconds after which an idle process of this machine ends
_POLL = 1.0  # seconds between two looks at whether the parent is alive


@dataclass(frozen=True)
class Pool:
    """Workers for `jobs` items at a time."""

    jobs: int
    threads: int  # available to each job
    _config: Callable[[], AbstractContextManager]  # joblib's choice of backend
    has_workers: Callable[[], bool] = lambda: True
    """True if there is a worker now; a cluster can lose all its workers and regain some."""

    def call(self, function: Callable[[Any], object], items: Sequence[Any], at_once: int) -> None:
        """Call the function on every item, at most `at_once` at a time.

        Raises what breaks the pool, such as the death of a worker; the work on other items may then be lost.
        """
        from joblib import Parallel, delayed

        with self._config(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
            # With one job joblib would run it in this process, which must survive the death of a worker.
            parallel = Parallel(n_jobs=max(2, self.jobs), batch_size=1, pre_dispatch=min(at_once, self.jobs))
            parallel(delayed(function)(item) for item in items)


@contextlib.contextmanager
def open_pool(backend: str, jobs: int | None, address: str | None) -> Iterator[Pool]:
    """Yield a pool of workers; workers started here end with the block.

    Args:
        backend: `local`, `dask` or `ray`.
        jobs: number of jobs at a time; None for one per CPU of this machine, or one per worker of the cluster.
        address: the address of an existing cluster; None starts one on this machine.

    Raises:
        SweepError: if the backend is unknown or not installed, or the cluster does not answer.
    """
    kinds = {"local": _open_local, "dask": _open_dask, "ray": _open_ray}
    if backend not in kinds:
        raise SweepError(f"--backend {backend}: expected {', '.join(kinds)}{nearest(backend, kinds)}")
    if backend == "local" and address is not None:
        raise SweepError("--address: needs --backend dask or ray; the local backend is this machine")
    with kinds[backend](jobs, address) as made:
        yield made


def _share_cpus(jobs: int | None) -> tuple[int, int]:
    """Return the number of jobs on this machine and the threads for each."""
    from joblib import cpu_count

    cpus = cpu_count()  # available to this process
    return jobs or cpus, max(1, cpus // (jobs or cpus))


@contextlib.contextmanager
def _open_local(jobs: int | None, address: str | None) -> Iterator[Pool]:
    from joblib import parallel_config

    count, threads = _share_cpus(jobs)
    options = {"idle_worker_timeout": _IDLE, "initializer": end_with, "initargs": (os.getpid(),)}
    yield Pool(count, threads, lambda: parallel_config("loky", inner_max_num_threads=1, **options))


def end_with(parent: int) -> None:
    """End this process soon after its parent, however that ends; it does nothing in a process of another parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _open_dask(jobs: int | None, address: str | None) -> Iterator[Pool]:
    distributed = _import_backend("distributed", "dask")
    from joblib import parallel_config

    with contextlib.ExitStack() as stack:
        count, threads = _share_cpus(jobs)
        if address is None:
            # A worker with two threads would put two runs into one process.
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    silence_logs=logging.ERROR,  # otherwise a line for each dead worker; the sweep reports them itself
                )
            )
        else:
            _require_answer(address, "Dask scheduler")
        try:
            client = stack.enter_context(distributed.Client(address, timeout=PATIENCE, set_as_default=False))
        except (OSError, ValueError, TimeoutError) as error:
            raise SweepError(
                f"--address {address}: no Dask scheduler answers there ({_get_first_line(error)})"
            ) from None
        if isinstance(address, str):
            count, threads = _count_slots(client, jobs, address), 1
        workers = _make_dask_backend(client)
        yield Pool(count, threads, lambda: parallel_config(workers), lambda: bool(client.nthreads()))


def _make_dask_backend(client: Any) -> Any:
    """Return joblib's Dask backend with two faults fixed.

    The original waits for ever for a task that the scheduler has given up (`KilledWorker`), and does not use a cluster
    with a single worker.
    """
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs):
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func, callback=None):
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

        def retrieve_result_callback(self, out):
            if isinstance(out, BaseException):
                raise out
            return super().retrieve_result_callback(out)

    return Backend(client=client)


def _count_slots(client: Any, jobs: int | None, address: str) -> int:
    """Return how many runs a Dask cluster can do at a time."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise SweepError(
            f"--address {address}: the Dask scheduler has no workers; start some: dask worker {address} --nthreads 1"
        ) from None
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if threaded := next((worker for worker in workers if worker["nthreads"] > 1), None):
        n = threaded["nthreads"]
        raise SweepError(
            f"--address {address}: a worker has {n} threads, but a process can do only one run; "
            f"start it with: dask worker {address} --nworkers {n} --nthreads 1"
        )
    return jobs or len(workers)


@contextlib.contextmanager
def _open_ray(jobs: int | None, address: str | None) -> Iterator[Pool]:
    ray = _import_backend("ray", "ray")
    from joblib import parallel_config
    from ray.util.joblib import register_ray

    count, threads = _share_cpus(jobs)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    was_there = ray.is_initialized()
    if not was_there and address is None:
        ray.init(num_cpus=max(2, count), include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
    elif not was_there:
        if address != "auto":
            _require_answer(str(address), "Ray head")
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SweepError(f"--address {address}: no Ray cluster answers there ({_get_first_line(error)})") from None
    try:
        if address is not None:
            slots = int(ray.cluster_resources().get("CPU", 1))
            count, threads = min(jobs or slots, slots), 1
        register_ray()
        yield Pool(count, threads, lambda: parallel_config("ray"))
    finally:
        if not was_there:
            ray.shutdown()


def _import_backend(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SweepError(f"--backend {extra}: not installed; {install_command(extra)}") from None


def _require_answer(address: str, who: str) -> None:
    """Raise SweepError if nothing listens at the address; the clusters' own clients take minutes to give up."""
    match = re.fullmatch(r"(?:\w+://)?\[?([^\[\]/]+?)\]?:(\d{1,5})/?", address)
    if match is None:
        raise SweepError(f"--address {address}: expected HOST:PORT of the {who}")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or _get_first_line(error)
        raise SweepError(f"--address {address}: no {who} answers there ({reason})") from None


def _get_first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
