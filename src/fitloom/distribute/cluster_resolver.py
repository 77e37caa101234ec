# SPDX-License-Identifier: Apache-2.0
"""`tf.distribute.cluster_resolver`: who is in the cluster, and which of them is this process."""
import json
import os
import platform
import re

from fitloom.distribute.cluster import split_address
from fitloom.engine.devices import list_physical_devices


class ClusterSpec:
    """The tasks of a cluster: job name -> list of 'host:port' (`tf.train.ClusterSpec`)."""

    def __init__(self, cluster):
        if isinstance(cluster, ClusterSpec):
            cluster = cluster.as_dict()
        if not isinstance(cluster, dict):
            raise TypeError(f"A cluster is a dict of job names and addresses, but received {type(cluster).__name__}.")
        self._jobs = {}
        for job, tasks in cluster.items():
            if isinstance(tasks, dict):
                tasks = [tasks[key] for key in sorted(tasks, key=int)]
            if isinstance(tasks, str) or not all(isinstance(task, str) for task in tasks):
                raise TypeError(f"The job '{job}' must have a list of 'host:port', but has {tasks!r}.")
            self._jobs[str(job)] = list(tasks)

    jobs = property(lambda self: list(self._jobs), doc="Names of the jobs.")

    def as_dict(self):
        """Return {job: [address, ...]}."""
        return {job: list(tasks) for job, tasks in self._jobs.items()}

    def num_tasks(self, job_name):
        """Return the number of tasks of a job."""
        return len(self.job_tasks(job_name))

    def task_indices(self, job_name):
        """Return the indices of a job's tasks."""
        return list(range(self.num_tasks(job_name)))

    def task_address(self, job_name, task_index):
        """Return a task's address."""
        return self.job_tasks(job_name)[task_index]

    def job_tasks(self, job_name):
        """Return the addresses of a job's tasks."""
        if job_name not in self._jobs:
            raise ValueError(f"No such job in cluster: {job_name!r}. Jobs: {', '.join(self._jobs) or 'none'}.")
        return list(self._jobs[job_name])

    def __bool__(self):
        return bool(self._jobs)

    def __eq__(self, other):
        return isinstance(other, ClusterSpec) and self._jobs == other._jobs

    __hash__ = None

    def __repr__(self):
        return f"ClusterSpec({self._jobs})"


class ClusterResolver:
    """Base of the resolvers: they tell the cluster and this process's place in it."""

    task_type = task_id = None
    environment, rpc_layer = "", "grpc"

    def cluster_spec(self):
        """Return the ClusterSpec."""
        raise NotImplementedError

    def master(self, task_type=None, task_id=None, rpc_layer=None):
        """Return 'grpc://host:port' of a task; by default of this one, '' on one machine."""
        task_type = self.task_type if task_type is None else task_type
        task_id = self.task_id if task_id is None else task_id
        if task_type is None or task_id is None or not self.cluster_spec():
            return ""
        layer = self.rpc_layer if rpc_layer is None else rpc_layer
        address = self.cluster_spec().task_address(task_type, task_id)
        return f"{layer}://{address}" if layer else address

    def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
        """Return {kind: number} of this machine's accelerators."""
        found = {}
        for device in list_physical_devices():
            if device.device_type != "CPU":
                found[device.device_type] = found.get(device.device_type, 0) + 1
        return found


class SimpleClusterResolver(ClusterResolver):
    """A cluster given as it is.

    Args:
        cluster_spec: a ClusterSpec, {'worker': ['host:port', ...]}.
        task_type, task_id: which of them this process is.
    """

    def __init__(self, cluster_spec, master="", task_type=None, task_id=None, environment="", num_accelerators=None,
                 rpc_layer=None):
        self._spec = ClusterSpec(cluster_spec)
        self.task_type, self.task_id, self._master = task_type, task_id, master
        self.environment, self.rpc_layer, self._accelerators = environment, rpc_layer or "", num_accelerators

    def cluster_spec(self):
        """Return the ClusterSpec given."""
        return self._spec

    def master(self, task_type=None, task_id=None, rpc_layer=None):
        """Return a task's address; without a task, the master given."""
        if task_type is None and task_id is None:
            return self._master
        return super().master(task_type, task_id, rpc_layer)

    def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
        """Return {kind: number} of accelerators, as given or of this machine."""
        return self._accelerators if self._accelerators is not None else super().num_accelerators()


class TFConfigClusterResolver(ClusterResolver):
    """The cluster in the environment variable TF_CONFIG, as Kubeflow and others set it.

    Args:
        task_type, task_id: override the variable's own.

    Raises:
        ValueError: the variable is not what it should be; the message says where.
    """

    def __init__(self, task_type=None, task_id=None, rpc_layer=None, environment=None):
        self._config = read_tf_config()
        task = self._config.get("task") or {}
        self.task_type = task_type if task_type is not None else task.get("type")
        number = task_id if task_id is not None else task.get("index")
        self.task_id = None if number is None else _index(number)
        self.rpc_layer = rpc_layer or self._config.get("rpc_layer") or "grpc"
        self.environment = environment or self._config.get("environment") or ""

    def cluster_spec(self):
        """Return the ClusterSpec, empty without TF_CONFIG."""
        return ClusterSpec(self._config.get("cluster") or {})


def read_tf_config():
    """Return TF_CONFIG as a dict, {} if it is not set.

    Raises:
        ValueError: it is no JSON, or not the expected structure.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return {}
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"TF_CONFIG is no JSON ({error}): {text[:200]}") from None
    wanted = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    if not isinstance(config, dict) or not isinstance(config.get("cluster", {}), dict) \
            or not isinstance(config.get("task", {}), dict):
        raise ValueError(f"TF_CONFIG must look like {wanted}, but is {text[:200]}")
    return config


def _index(value):
    if isinstance(value, str) and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"A task's index must be an integer >= 0, but is {value!r}.")
    return value


class SlurmClusterResolver(ClusterResolver):
    """The cluster of a SLURM job step: one worker for each task of `srun`.

    Args:
        jobs: {job name: number of tasks}; by default all tasks are workers.
        port_base: port of the first task of a node; others follow.
        gpus_per_node, gpus_per_task, tasks_per_node: override what SLURM says.
        auto_set_gpu: give each task of a node its own GPUs (CUDA_VISIBLE_DEVICES).

    Raises:
        RuntimeError: this process was not started by srun.
    """

    def __init__(self, jobs=None, port_base=8888, gpus_per_node=None, gpus_per_task=None, tasks_per_node=None,
                 auto_set_gpu=True, rpc_layer="grpc"):
        environment = os.environ
        if "SLURM_PROCID" not in environment:
            raise RuntimeError("SlurmClusterResolver: SLURM_PROCID is not set, so this process was not started by "
                               "srun. Start it with srun, or use TFConfigClusterResolver.")
        nodes = expand_hosts(environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"])
        counts = tasks_per_node or _tasks(environment.get("SLURM_STEP_TASKS_PER_NODE")
                                          or environment.get("SLURM_TASKS_PER_NODE", "1"))
        counts = [counts] * len(nodes) if isinstance(counts, int) else list(counts)
        addresses = [f"{node}:{port_base + i}" for node, count in zip(nodes, counts) for i in range(count)]
        jobs = jobs or {"worker": len(addresses)}
        if sum(jobs.values()) > len(addresses):
            raise RuntimeError(f"The jobs need {sum(jobs.values())} tasks, but SLURM started {len(addresses)}.")
        rank, first, spec = int(environment["SLURM_PROCID"]), 0, {}
        for job, count in jobs.items():
            spec[job] = addresses[first:first + count]
            if first <= rank < first + count:
                self.task_type, self.task_id = job, rank - first
            first += count
        self._spec, self.rpc_layer = ClusterSpec(spec), rpc_layer
        if auto_set_gpu and (gpus_per_task or gpus_per_node) and "CUDA_VISIBLE_DEVICES" not in environment:
            local = int(environment.get("SLURM_LOCALID", "0"))
            each = gpus_per_task or max(1, int(gpus_per_node) // max(counts))
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(local * each + i) for i in range(each))

    def cluster_spec(self):
        """Return the ClusterSpec."""
        return self._spec

    def get_task_info(self):
        """Return (task type, task id)."""
        return self.task_type, self.task_id


def expand_hosts(text):
    """Return the hosts of SLURM's short form: 'n[1-3,7],m1' gives n1, n2, n3, n7, m1."""
    found = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)*", text):
        names = [""]
        for plain, ranges in re.findall(r"([^\[\]]+)|\[([^\]]*)\]", part):
            if plain:
                names = [name + plain for name in names]
                continue
            ends = []
            for piece in ranges.split(","):
                low, _, high = piece.partition("-")
                ends += [str(i).zfill(len(low)) for i in range(int(low), int(high or low) + 1)]
            names = [name + end for name in names for end in ends]
        found += names
    return found


def _tasks(text):
    """Return the tasks of each node: '2(x3),1' gives 2, 2, 2, 1."""
    found = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        found += [int(count)] * int(times or 1)
    return found


class KubernetesClusterResolver(ClusterResolver):
    """The running pods of a Kubernetes cluster, found by their labels.

    Args:
        job_to_label_mapping: {job name: [label selector, ...]}; by default {'worker': ['job-name=tensorflow']}.
        tf_server_port: port of every task.
        override_client: a CoreV1Api; by default that of the package `kubernetes`, configured as inside a pod or else by
            the kube config file.
        executable_location: accepted for TensorFlow's sake, 'within_cluster' or 'off_cluster'.

    `task_type` and `task_id` are those of the pod whose name is this machine's host name, as inside a pod; set them
    elsewhere. Pods are ordered by name and addressed by their host's IP, as TensorFlow does.

    Raises:
        ImportError: no client was given and the package `kubernetes` is not installed.
        RuntimeError: a selected pod is not running.
    """

    def __init__(self, job_to_label_mapping=None, tf_server_port=8470, rpc_layer="grpc", override_client=None,
                 executable_location=None):
        self._labels = job_to_label_mapping or {"worker": ["job-name=tensorflow"]}
        self._port, self.rpc_layer = tf_server_port, rpc_layer
        self._client = override_client if override_client is not None else _kubernetes_client()
        self._pods = {}
        for job, selectors in self._labels.items():
            found = [pod for selector in selectors
                     for pod in self._client.list_pod_for_all_namespaces(label_selector=selector).items]
            self._pods[job] = sorted(found, key=lambda pod: pod.metadata.name)
            for number, pod in enumerate(self._pods[job]):
                if pod.status.phase != "Running":
                    raise RuntimeError(f"The pod '{pod.metadata.name}' of the job '{job}' is {pod.status.phase}, not "
                                       "Running. Start the workers when all pods run.")
                if pod.metadata.name == platform.node():
                    self.task_type, self.task_id = job, number

    def cluster_spec(self):
        """Return the ClusterSpec of the pods found."""
        return ClusterSpec({job: [f"{pod.status.host_ip}:{self._port}" for pod in pods]
                            for job, pods in self._pods.items() if pods})


def _kubernetes_client():
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise ImportError("KubernetesClusterResolver needs the package kubernetes: pip install kubernetes. Under "
                          "Kubeflow, which sets TF_CONFIG, use TFConfigClusterResolver().") from error
    try:
        config.load_incluster_config()
    except config.ConfigException:
        config.load_kube_config()
    return client.CoreV1Api()


class TPUClusterResolver(ClusterResolver):
    """The TPU of this machine or pod slice, as jax finds it.

    Args:
        tpu: '', 'local' or the name of the TPU this process runs on; others cannot be reached from outside.
    """

    environment = "google"

    def __init__(self, tpu=None, zone=None, project=None, job_name="worker", coordinator_name=None,
                 coordinator_address=None, credentials="default", service=None, discovery_url=None):
        if tpu is not None and str(tpu).startswith("grpc://"):
            raise ValueError(f"A TPU node at {tpu} cannot be used from another machine: run the script on the TPU VM "
                             "itself, with TPUClusterResolver(tpu='local').")
        self._tpu, self.task_type, self.task_id = tpu, job_name, 0

    @staticmethod
    def connect(tpu=None, zone=None, project=None):
        """Return a resolver; nothing has to be connected on a TPU VM."""
        return TPUClusterResolver(tpu)

    def cluster_spec(self):
        """Return an empty ClusterSpec: jax knows the pod slice."""
        return ClusterSpec({})

    def master(self, task_type=None, task_id=None, rpc_layer=None):
        """Return 'local'."""
        return "local"


def workers_of(resolver):
    """Return (addresses with the chief first, this process's rank) of a resolver; (None, 0) for one process alone.

    Raises:
        ValueError: the cluster has parameter servers, or this process is not a worker of it.
    """
    spec = resolver.cluster_spec()
    jobs = spec.as_dict()
    if "ps" in jobs:
        raise ValueError("The cluster has parameter servers ('ps'), which do not exist here: list only 'chief' and "
                         "'worker' in TF_CONFIG.")
    chiefs = [*jobs.get("chief", []), *jobs.get("master", [])]
    addresses = [*chiefs, *jobs.get("worker", [])]
    if not addresses:
        return None, 0
    for address in addresses:
        split_address(address)
    kind, number = resolver.task_type, resolver.task_id
    if kind is None or number is None:
        if len(addresses) == 1:
            return addresses, 0
        raise ValueError("TF_CONFIG lists several workers, but its 'task' does not say which one this process is: "
                         '"task": {"type": "worker", "index": 0}.')
    if kind not in ("chief", "master", "worker"):
        raise ValueError(f"This process is a '{kind}', but a MultiWorkerMirroredStrategy has only 'chief' and "
                         "'worker' tasks. An evaluator runs without a strategy.")
    rank = number + (len(chiefs) if kind == "worker" else 0)
    have = len(jobs.get(kind, []))
    if number >= have:
        raise ValueError(f"This process is {kind} {number}, but the cluster lists {have} of them "
                         f"({', '.join(jobs.get(kind, [])) or 'none'}). The index counts from 0.")
    return addresses, rank


__all__ = ["ClusterResolver", "KubernetesClusterResolver", "SimpleClusterResolver", "SlurmClusterResolver",
           "TFConfigClusterResolver", "TPUClusterResolver"]
