"""What a control plane and its users identify themselves with: a CA, a certificate, keys, tokens, kubeconfigs."""

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

CONTROLLER_MANAGER = "system:kube-controller-manager"
_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = ("-days", "3650")


def make_credentials(folder: Path, *, users: Sequence[tuple[str, str]] = (), addresses: Sequence[str] = ()) -> None:
    """Make ca.crt, server.crt, server.key, accounts.key, accounts.pub and tokens.csv, unless they are there.

    Users are known by token: `admin` may do everything, the controller manager what the server's own roles give it, and
    further `users`, each with a group, likewise. `addresses` are the server's besides loopback.
    """
    if (folder / "tokens.csv").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _openssl(
        folder,
        "req",
        "-x509",
        *_EC_KEY,
        *_DAYS,
        "-subj",
        "/CN=kubedistill-tests",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-addext",
        "keyUsage=critical,keyCertSign",
    )
    names = ["IP:127.0.0.1", "DNS:localhost", "DNS:kubernetes.default.svc", *(f"IP:{one}" for one in addresses)]
    make_certificate(folder, "server", "/CN=kube-apiserver", usage="serverAuth", names=names)
    _openssl(folder, "genrsa", "-out", "accounts.key", "2048")
    _openssl(folder, "rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
    rows = [
        f'{secrets.token_urlsafe(32)},admin,admin,"system:masters"',
        f"{secrets.token_urlsafe(32)},{CONTROLLER_MANAGER},{CONTROLLER_MANAGER}",
        *(f'{secrets.token_urlsafe(32)},{user},{user},"{group}"' for user, group in users),
    ]
    write_private(folder / "tokens.csv", "\n".join(rows) + "\n")


def make_certificate(folder: Path, name: str, subject: str, *, usage: str, names: Sequence[str] = ()) -> None:
    """Make name.crt and name.key, signed by the CA of the folder."""
    alternatives = ("-addext", f"subjectAltName={','.join(names)}") if names else ()
    _openssl(
        folder,
        "req",
        "-x509",
        *_EC_KEY,
        *_DAYS,
        "-subj",
        subject,
        "-keyout",
        f"{name}.key",
        "-out",
        f"{name}.crt",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        f"extendedKeyUsage={usage}",
        *alternatives,
    )


def token_of(user: str, *, folder: Path) -> str:
    """Return the token of a user."""
    rows = [line.split(",") for line in (folder / "tokens.csv").read_text().splitlines()]
    return next(row[0] for row in rows if row[1] == user)


def write_kubeconfig(path: Path, *, server: str, ca: bytes, token: str) -> Path:
    """Write a kubeconfig of one cluster and one user, with everything in it; JSON is YAML."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "kubedistill-tests",
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()},
            }
        ],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "kubedistill-tests", "context": {"cluster": "kubedistill-tests", "user": "user"}}],
        "current-context": "kubedistill-tests",
    }
    write_private(path, json.dumps(config, indent=2) + "\n")
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed:\n{done.stderr}")
