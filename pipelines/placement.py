"""On which nodes a step runs and what it may use there: run-time parameters, so that nobody edits Python for it.

What an empty value does was read in the driver of Kubeflow Pipelines 2.17: no accelerator type, an empty node selector,
no tolerations and an empty affinity all ask for nothing; an empty quantity or an empty secret's name fails the run,
so those have defaults (`tamis.pools.NodePool`), and a secret or config map need not exist.
"""

from typing import Any

from kfp import dsl, kubernetes

SECRET = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY", "sessiontoken": "AWS_SESSION_TOKEN"}
"""Keys of the store's secret, named as in the one that Kubeflow makes for its own store, and their variables."""

CONFIG = ("TAMIS_S3_ENDPOINT", "AWS_REGION", "TAMIS_S3_CA_FILE", "HF_ENDPOINT", "HF_HUB_OFFLINE")
"""Keys of the config map and variables, by the same name; as files its keys are in `/etc/tamis`."""


def place(task: dsl.PipelineTask, role: str, given: dict[str, Any]) -> None:
    """Sends a step to the node pool of its role.

    Args:
        task: The step.
        role: `data` for steps without a model, `scoring`, `training` or `evaluation`.
        given: The pipeline's parameters by name.
    """
    sizes = {name: given[f"{role}_{name}"] for name in ("cpu", "memory")}
    task.set_cpu_limit(sizes["cpu"]).set_memory_limit(sizes["memory"])
    if role != "data":
        sizes |= {name: given[f"{role}_{name}"] for name in ("accelerator_type", "accelerator_count")}
        task.set_accelerator_type(sizes["accelerator_type"]).set_accelerator_limit(sizes["accelerator_count"])
        # In memory, because the 64 MiB that a pod has otherwise are too few for NCCL and data loaders.
        kubernetes.empty_dir_mount(task, volume_name="shm", mount_path="/dev/shm", medium="Memory")
    # Without this the compiler does not hand sizes on to a step inside a loop, and the run fails there.
    task.register_pipeline_channels(list(sizes.values()))
    kubernetes.add_node_selector_json(task, given[f"{role}_node_selector"])
    kubernetes.add_toleration_json(task, given[f"{role}_tolerations"])
    kubernetes.add_node_affinity_json(task, given[f"{role}_affinity"])
    kubernetes.use_secret_as_env(task, given["secret_name"], SECRET, optional=True)
    kubernetes.use_config_map_as_env(task, given["config_name"], {name: name for name in CONFIG}, optional=True)
    kubernetes.use_config_map_as_volume(task, given["config_name"], "/etc/tamis", optional=True)  # such as ca.crt
    # The image's numeric user, or the one that the cluster gives (OpenShift): both are welcome, root is not.
    kubernetes.set_security_context(task, run_as_non_root=True)
    # Nodes are taken away and stores are away for a moment; a step goes on from what it has written.
    task.set_retry(num_retries=2, backoff_duration="60s", backoff_factor=2, backoff_max_duration="600s")
