"""The files that tell containerd, the pod network, kubelet and kube-proxy what to do; JSON is YAML. Pure."""

import json
from pathlib import Path
from typing import Any

NODE, NODE_ADDRESS, NODE_LINK = "node", "172.30.0.1", "kd-node"
POD_LINK, POD_RANGE = "kd-pods", "10.244.0.0/24"
DNS_ADDRESS = "10.96.0.10"
PAUSE_IMAGE, DNS_IMAGE = "localhost/pause:1", "localhost/coredns:1"
_PLUGINS = "/usr/lib/cni"


def containerd_toml(*, store: Path, state: Path, network: Path) -> str:
    """Containerd with root, state and socket of its own."""
    return f"""\
version = 2
root = "{store}"
state = "{state}/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  netns_mounts_under_state_dir = true
  # Without CAP_SYS_RESOURCE, which sandboxes lack, a score below containerd's own is refused and no pod starts.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_PLUGINS}"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def network(*, leases: Path) -> str:
    """Return one bridge for all pods; nothing is masqueraded, so pods reach pods, services and this machine only."""
    address = {"type": "host-local", "dataDir": str(leases), "ranges": [[{"subnet": POD_RANGE}]]}
    bridge = {
        "type": "bridge",
        "bridge": POD_LINK,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": address,
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]})


def kubelet(*, state: Path, logs: Path, ca: Path) -> str:
    """Return a kubelet for cgroup v1 and v2 that leaves images alone, which it could pull from nowhere."""
    socket = f"unix://{state}/containerd.sock"
    return _yaml(
        "kubelet.config.k8s.io/v1beta1",
        "KubeletConfiguration",
        address=NODE_ADDRESS,
        authentication={
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(ca)},
        },
        authorization={"mode": "Webhook"},
        cgroupDriver="cgroupfs",
        failCgroupV1=False,
        failSwapOn=False,
        clusterDNS=[DNS_ADDRESS],
        clusterDomain="cluster.local",
        resolvConf=str(state / "resolv.conf"),
        containerRuntimeEndpoint=socket,
        imageServiceEndpoint=socket,
        podLogsDir=str(logs),
        volumePluginDir=str(state / "volume-plugins"),
        healthzBindAddress="127.0.0.1",
        imageGCHighThresholdPercent=100,
        imageGCLowThresholdPercent=99,
        evictionHard={
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    )


def kube_proxy(*, kubeconfig: Path) -> str:
    """Return services by iptables; connection tracking stays as the machine has it."""
    return _yaml(
        "kubeproxy.config.k8s.io/v1alpha1",
        "KubeProxyConfiguration",
        clientConnection={"kubeconfig": str(kubeconfig)},
        mode="iptables",
        clusterCIDR=POD_RANGE,
        hostnameOverride=NODE,
        bindAddress=NODE_ADDRESS,
        healthzBindAddress="127.0.0.1:10256",
        metricsBindAddress="127.0.0.1:10249",
        conntrack={"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    )


def _yaml(api_version: str, kind: str, **values: Any) -> str:
    return json.dumps({"apiVersion": api_version, "kind": kind, **values}, indent=2)
