"""Who may talk to the API server: tokens, keys and kubeconfig files of one cluster, made anew at each start."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run
from cluster.paths import State

NODE_NAME = "node1"


@dataclass(frozen=True)
class Identity:
    """A user of the API server, known by a bearer token."""

    file: str
    user: str
    groups: tuple[str, ...] = ()


ADMIN = Identity("admin", "admin", ("system:masters",))
CONTROLLER_MANAGER = Identity("kube-controller-manager", "system:kube-controller-manager")
SCHEDULER = Identity("kube-scheduler", "system:kube-scheduler")
PROXY = Identity("kube-proxy", "system:kube-proxy")
KUBELET = Identity("kubelet", f"system:node:{NODE_NAME}", ("system:nodes",))
DNS = Identity("coredns", "system:coredns")
KWOK = Identity("kwok", "system:kwok", ("system:masters",))
IDENTITIES = (ADMIN, CONTROLLER_MANAGER, SCHEDULER, PROXY, KUBELET, DNS, KWOK)


@dataclass(frozen=True)
class Access:
    """The secrets of a cluster, on disk in its secrets folder."""

    state: State
    server: str

    @property
    def tokens(self) -> Path:
        """The API server's --token-auth-file."""
        return self.state.secrets / "tokens.csv"

    @property
    def service_account_key(self) -> Path:
        """The RSA key that signs the tokens of service accounts."""
        return self.state.secrets / "service-account.key"

    @property
    def kubelet_client_key(self) -> Path:
        """The key with which the API server reaches the kubelet (logs, exec)."""
        return self.state.secrets / "kubelet-client.key"

    @property
    def kubelet_client_certificate(self) -> Path:
        """Self-signed, so that it is its own authority: the kubelet lets in this certificate and nothing else."""
        return self.state.secrets / "kubelet-client.crt"

    @property
    def certificates(self) -> Path:
        """The folder in which the API server writes its self-signed certificate."""
        return self.state.secrets / "apiserver"

    @property
    def authority(self) -> Path:
        """What clients verify the API server with. It exists once the API server has started."""
        return self.certificates / "apiserver.crt"

    def kubeconfig(self, identity: Identity) -> Path:
        """The kubeconfig file of an identity."""
        return self.state.kubeconfig if identity is ADMIN else self.state.secrets / f"{identity.file}.kubeconfig"

    def create(self) -> None:
        """Make new tokens, keys and kubeconfig files."""
        rows = []
        for identity in IDENTITIES:
            token = secrets.token_hex(24)
            groups = f',"{",".join(identity.groups)}"' if identity.groups else ""
            rows.append(f"{token},{identity.user},{identity.file}{groups}")
            _write_private(self.kubeconfig(identity), json.dumps(self._kubeconfig(token), indent=2))
        _write_private(self.tokens, "\n".join(rows) + "\n")
        run("openssl", "genrsa", "-out", self.service_account_key, "2048")
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "3650", "-subj", "/CN=kube-apiserver", "-addext", "extendedKeyUsage=clientAuth"),
            *("-keyout", self.kubelet_client_key, "-out", self.kubelet_client_certificate),
        )

    def _kubeconfig(self, token: str) -> dict[str, object]:
        """JSON is YAML: every client reads it."""
        name = f"archsearch-{self.state.name}"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": self.server, "certificate-authority": str(self.authority)}}
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
