# SPDX-License-Identifier: Apache-2.0
"""`tf.config`'s devices, each case in a process of its own, and the resolvers' reading of their environment."""

import json
import subprocess
import sys
import types

import pytest

import fitloom as tf

CODE = """
import fitloom as tf
cpus = tf.config.list_physical_devices('CPU')
assert len(cpus) == 1, cpus
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 3)
names = [d.name for d in tf.config.list_logical_devices('CPU')]
assert names == ['/device:CPU:0', '/device:CPU:1', '/device:CPU:2'], names
assert len(tf.config.list_physical_devices('CPU')) == 1
assert tf.distribute.MirroredStrategy().num_replicas_in_sync == 3
assert len(tf.config.get_logical_device_configuration(cpus[0])) == 3
tf.config.set_visible_devices(cpus, 'CPU')
tf.config.set_visible_devices([], 'GPU')
tf.config.experimental.set_memory_growth(cpus[0], True)
x = tf.constant(1.0) + 1.0
float(x)
try:
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()])
except RuntimeError as error:
    assert 'beginning of the program' in str(error)
else:
    raise AssertionError
print('fine')
"""


def test_logical_devices():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "fine", done.stderr


def test_tf_config(monkeypatch):
    from fitloom.distribute.cluster_resolver import workers_of

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert workers_of(resolver()) == (None, 0) and resolver().master() == ""
    cluster = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": "1"}}))
    assert workers_of(resolver()) == (["a:1", "b:2", "c:3"], 2)
    assert resolver().cluster_spec().as_dict() == cluster and resolver().master() == "grpc://c:3"
    assert resolver(task_type="chief", task_id=0).master(rpc_layer="") == "a:1"


@pytest.mark.parametrize("text, words", [
    ("{", "is no JSON"),
    ("[1]", "must look like"),
    ('{"cluster": {"worker": "a:1"}}', "list of 'host:port'"),
    ('{"cluster": {"worker": ["a", "b:2"]}, "task": {"type": "worker", "index": 0}}', "'host:port'"),
    ('{"cluster": {"worker": ["a:1", "b:2"]}}', "which one this process is"),
    ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}', "worker 2, but the cluster lists 2"),
    ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": -1}}', "integer >= 0"),
    ('{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": 0}}', "parameter servers"),
    ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "evaluator", "index": 0}}', "'evaluator'"),
])
def test_wrong_tf_config(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises((ValueError, TypeError), match=words.replace("(", "\\(")):
        tf.distribute.MultiWorkerMirroredStrategy()


def test_one_worker_is_a_mirrored_strategy(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}')
    assert tf.distribute.MultiWorkerMirroredStrategy().num_replicas_in_sync == 1


def test_slurm(monkeypatch):
    from fitloom.distribute.cluster_resolver import expand_hosts

    assert expand_hosts("n[1-3,07],m1,x[01-02]y") == ["n1", "n2", "n3", "n07", "m1", "x01y", "x02y"]
    for name, value in {"SLURM_PROCID": "3", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
                        "SLURM_LOCALID": "1"}.items():
        monkeypatch.setenv(name, value)
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
    assert resolver.cluster_spec().as_dict() == {"worker": ["n1:8888", "n1:8889", "n2:8888", "n2:8889"]}
    assert resolver.get_task_info() == ("worker", 3) and resolver.master() == "grpc://n2:8889"
    monkeypatch.delenv("SLURM_PROCID")
    with pytest.raises(RuntimeError, match="not started by srun"):
        tf.distribute.cluster_resolver.SlurmClusterResolver()


def test_others():
    simple = tf.distribute.cluster_resolver.SimpleClusterResolver(
        {"worker": ["a:1", "b:2"]}, task_type="worker", task_id=1, rpc_layer="grpc")
    assert simple.master("worker", 0) == "grpc://a:1" and simple.task_id == 1
    with pytest.raises(ImportError, match="TF_CONFIG"):
        tf.distribute.cluster_resolver.KubernetesClusterResolver()
    with pytest.raises(ValueError, match="TPU VM"):
        tf.distribute.cluster_resolver.TPUClusterResolver("grpc://10.0.0.1:8470")


def test_default_strategy_and_one_device():
    assert not tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
    assert tf.distribute.get_replica_context().replica_id_in_sync_group == 0
    default = tf.distribute.get_strategy()
    assert default.num_replicas_in_sync == 1 and default.run(lambda x: x + 1, args=(1,)) == 2
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        assert tf.distribute.get_strategy() is strategy and tf.distribute.has_strategy()
        v = tf.Variable(2.0)
    assert float(strategy.run(lambda x: x * v, args=(tf.constant(3.0),))) == 6.0
    assert float(strategy.reduce("mean", tf.constant([1.0, 3.0]), axis=0)) == 2.0
    dataset = tf.data.Dataset.range(3)
    assert strategy.experimental_distribute_dataset(dataset) is dataset
    assert tf.distribute.is_chief()


class Pods:
    """What the Kubernetes client answers: pods 'w-1', 'w-0' of the label job-name=w."""

    def __init__(self, *phases):
        self.phases = phases

    def list_pod_for_all_namespaces(self, label_selector):
        assert label_selector == "job-name=w"
        pods = [types.SimpleNamespace(metadata=types.SimpleNamespace(name=f"w-{i}"), status=types.SimpleNamespace(
            phase=phase, host_ip=f"10.0.0.{i}")) for i, phase in enumerate(self.phases)]
        return types.SimpleNamespace(items=pods[::-1])


def test_kubernetes(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "w-1")
    resolver = tf.distribute.cluster_resolver.KubernetesClusterResolver(
        {"worker": ["job-name=w"]}, override_client=Pods("Running", "Running"))
    assert resolver.cluster_spec().as_dict() == {"worker": ["10.0.0.0:8470", "10.0.0.1:8470"]}
    assert (resolver.task_type, resolver.task_id, resolver.master()) == ("worker", 1, "grpc://10.0.0.1:8470")
    with pytest.raises(RuntimeError, match="'w-1'.*Pending"):
        tf.distribute.cluster_resolver.KubernetesClusterResolver(
            {"worker": ["job-name=w"]}, override_client=Pods("Running", "Pending"))
