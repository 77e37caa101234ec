# SPDX-License-Identifier: Apache-2.0
"""`tf.distribute.MultiWorkerMirroredStrategy`: several processes or machines."""
import contextlib
import os
import socket
import subprocess
import sys
import warnings

import jax
import numpy as np
from jax.extend.backend import clear_backends

from fitloom import engine
from fitloom.distribute.cluster import CLUSTER, START_SECONDS, seconds, split_address
from fitloom.distribute.cluster_resolver import SlurmClusterResolver, TFConfigClusterResolver, workers_of
from fitloom.distribute.mirrored import find_devices, name_of, placement_on
from fitloom.distribute.operations import CommunicationOptions, InputContext
from fitloom.distribute.strategy import Strategy, StrategyExtended
from fitloom.engine.placement import Placement
from fitloom.engine.settings import backend_started

_FAR = 7 * 24 * 3600         # jax's own heartbeat says less than our watch: it comes last


class MultiWorkerMirroredStrategy(Strategy):
    """One copy of each variable on every device of every worker, each batch split over all of them.

    All workers run the same script. Results are those of one process on the global batch, within rounding. Make it at
    the beginning: workers wait for each other here, take worker 0's random seed, and print a table of the cluster.
    A worker that does not arrive, dies or hangs ends the others with an error that names it (docs/scaling.md has the
    times and how to set them).

    Args:
        cluster_resolver: who is in the cluster; None reads TF_CONFIG, or SLURM's variables under srun. One process
            alone uses its own devices.
        communication_options: `timeout_seconds` is the silence after which a worker counts as lost (60).

    Raises:
        ValueError: TF_CONFIG is wrong, or the workers do not describe one cluster or have different seeds.
        RuntimeError: a worker did not arrive in time.
        OSError: worker 0's port is in use.
    """

    def __init__(self, cluster_resolver=None, communication_options=None):
        options = communication_options or CommunicationOptions()
        if not isinstance(options, CommunicationOptions):
            raise TypeError("communication_options must be a tf.distribute.experimental.CommunicationOptions, but "
                            f"received {type(options).__name__}.")
        self._resolver = cluster_resolver or _resolver()
        addresses, rank = workers_of(self._resolver)
        if addresses is None or len(addresses) == 1:
            found = find_devices(None)
            extended = StrategyExtended(self, [name_of(d) for d in found], placement_on(found))
        else:
            if not CLUSTER.size > 1:
                join_cluster(addresses, rank, options.timeout_seconds)
            devices = jax.devices()
            extended = StrategyExtended(
                self, [f"/job:worker/replica:0/task:{d.process_index}/device:{d.platform.upper()}:{d.id}"
                       for d in devices], Placement(jax.sharding.Mesh(np.array(devices), ("replica",))))
            Placement.cluster = extended.placement
        super().__init__(extended)
        self.extended.should_checkpoint = self.extended.should_save_summary = self.is_chief
        if not self.is_chief:
            return
        _print_table(self)

    is_chief = property(lambda self: CLUSTER.rank == 0, doc="Whether this process writes files and logs.")
    workers = property(lambda self: CLUSTER.size, doc="Number of workers.")

    @property
    def cluster_resolver(self):
        """The resolver given, or the one of the environment."""
        return self._resolver

    def _input_context(self):
        return InputContext(CLUSTER.size, CLUSTER.rank, self.num_replicas_in_sync)

    def experimental_local_results(self, value):
        """Return the values of this process's replicas as a tuple."""
        every = super().experimental_local_results(value)
        return every if len(every) != self.num_replicas_in_sync else tuple(every[i] for i in self.local_replicas())


def _resolver():
    if not os.environ.get("TF_CONFIG") and "SLURM_PROCID" in os.environ \
            and int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS", "1"))) > 1:
        return SlurmClusterResolver()
    return TFConfigClusterResolver()


def join_cluster(addresses, rank, timeout_seconds=None):
    """Meet the other workers, start jax's collectives, and make the seeds one."""
    from importlib.metadata import version

    seed, drawn, counter = engine.stream_state()[:3]
    about = {"version": f"jax {jax.__version__} and NumPy {version('numpy')}", "host": socket.gethostname(),
             "pid": os.getpid(), "seed": None if seed is None else int(seed), "drawn": drawn, "counter": counter}
    everyone, port = CLUSTER.join(addresses, rank, about, timeout_seconds)
    for other, said in enumerate(everyone):
        if said["seed"] != everyone[0]["seed"]:
            raise ValueError(f"The workers do not agree on the seed: worker 0 has {everyone[0]['seed']}, "
                             f"{CLUSTER.name(other)} has {said['seed']}. Call tf.random.set_seed or "
                             "tf.keras.utils.set_random_seed with one number in all of them.")
    if backend_started():                   # also listing devices starts them
        if jax.live_arrays():
            warnings.warn("Values were computed before this process joined its cluster, so jax starts again and they "
                          "cannot be used any more. Make the MultiWorkerMirroredStrategy first.", stacklevel=4)
        clear_backends()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    host = split_address(addresses[0])[0]
    with _own_coordinator():
        jax.distributed.initialize(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", len(addresses),
                                   rank, initialization_timeout=int(seconds("START", START_SECONDS)) + 1,
                                   heartbeat_timeout_seconds=_FAR, cluster_detection_method="deactivate")
    jax.devices()                                    # a collective start: all workers come here
    first = everyone[0]
    own = engine.stream_state()
    if seed is None:                                 # nobody has set one: all draw what worker 0 draws
        own = (*own[:4], False, *own[5:])
    engine.restore_stream((first["seed"], first["drawn"], first["counter"], *own[3:]))
    CLUSTER.about = everyone


# It lets go of the chief's output once it runs: who reads that hears its end when the chief ends. Without a goodbye it
# leaves at once after its time: the service's own end would wait for workers that are gone.
_COORDINATOR = """
import os, sys, time
from jaxlib import _jax
service = _jax.get_distributed_runtime_service(sys.argv[1], int(sys.argv[2]), heartbeat_timeout=int(sys.argv[3]))
print("ready", flush=True)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
if sys.stdin.readline():
    service.shutdown()
else:
    time.sleep(3)
    os._exit(0)
"""


class Coordinator:
    """jax's coordination service in a process of its own, which outlives the chief by 3 s.

    A client of jax aborts its process, with a stack trace, as soon as the service is gone. So a killed chief must not
    take it along: the others have time to end with the sentence that names the chief.
    """

    def __init__(self, address, count, **options):
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COORDINATOR, address, str(count), str(_FAR)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, start_new_session=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"jax's coordination service did not start on {address} (status {self.process.wait()}).")

    def shutdown(self):
        """End the service: all workers have left."""
        with contextlib.suppress(OSError):
            self.process.communicate("end\n", timeout=10)


@contextlib.contextmanager
def _own_coordinator():
    """While jax connects: its service is started as a Coordinator."""
    from jax._src import distributed

    real = distributed._jax

    class Connecting:
        get_distributed_runtime_service = Coordinator

        def __getattr__(self, name):
            return getattr(real, name)
    distributed._jax = Connecting()
    try:
        yield
    finally:
        distributed._jax = real


def _print_table(strategy):
    """Say who is in the cluster."""
    if CLUSTER.size == 1:
        return
    devices = jax.devices()
    kind = {"cpu": "Gloo", "gpu": "NCCL", "cuda": "NCCL", "tpu": "ICI"}.get(devices[0].platform, devices[0].platform)
    platform = devices[0].platform.upper()
    title = (f"Cluster of {CLUSTER.size} workers with {len(devices)} devices ({platform}, {kind}); a silent worker "
             f"counts as lost after {CLUSTER.silent:g} s:")
    lines = [title]
    for rank, (address, said) in enumerate(zip(CLUSTER.addresses, CLUSTER.about)):
        own = sum(d.process_index == rank for d in devices)
        lines.append(f"  worker {rank}{' (chief)' if rank == 0 else '':8}  {address:24} {said['host']}, process "
                     f"{said['pid']}, {own} device{'s' if own > 1 else ''}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
