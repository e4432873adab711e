"""The root file system of an image, and processes in it as a kubelet starts them: by root, without a container engine.

Such a process sees its own mounts, a root that is read-only and no more of the machine than /dev, /proc, /sys and
the network; its user needs no entry in /etc/passwd, it has no capability and can get none, and it is killed when the
process that started it ends.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.image_tools import MOUNT

# Links of an image, such as /var/run, are its own: only chroot follows them inside of it.
_ENTER = """
set -eu
root=$1 user=$2 groups=$3 host=$4; shift 4
hostname "$host"
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
  if [ -f "$3" ]; then make='mkdir -p "${0%/*}" && touch "$0"'; else make='mkdir -p "$0"'; fi
  target=$root$(chroot "$root" sh -c "$make"' && readlink -f "$0"' "$2")
  if [ "$1" = tmpfs ]; then
    mount -t tmpfs -o mode=0777 tmpfs "$target"
  else
    mount --bind "$3" "$target"
    mount -o "remount,bind,$1" "$target"
  fi
  shift 3
done
shift
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -o remount,bind,ro "$root/sys"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" "$groups" --bounding-set=-all \\
  --inh-caps=-all --no-new-privs --pdeathsig KILL env -i "$@"
"""
_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """An image that was unpacked."""

    folder: Path
    environment: dict[str, str]
    working_folder: str
    entrypoint: tuple[str, ...]
    default_arguments: tuple[str, ...]

    def start(
        self,
        command: Sequence[str],
        *,
        user: str,
        groups: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path | None] | None = None,
        writable: Mapping[str, Path] | None = None,
        host: str = "pod",
        **options: Any,
    ) -> "subprocess.Popen[bytes]":
        """Start a process as `uid:gid` with further groups.

        A mount is a folder or a file, read-only, or None for an empty folder to write to; what is `writable` is the
        folder itself.
        """
        places = [part for path, source in (mounts or {}).items() for part in _mount(path, source)]
        places += [part for path, source in (writable or {}).items() for part in ("rw", path, str(source))]
        variables = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        entered = ["-C", self.working_folder, *variables, *command]
        further = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
        arguments = [str(self.folder), user, further, host, *places, "--", *entered]
        return subprocess.Popen([*MOUNT, "sh", "-c", _ENTER, "enter", *arguments], env=_PATH, **options)

    def run(self, command: Sequence[str], *, seconds: float = 120, **options: Any) -> tuple[int, str]:
        """Return (exit status, output) of a process."""
        with self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            finally:
                process.kill()
        return process.returncode, output.decode()


def unpack(engine: str, image: str, folder: Path) -> ImageRoot:
    """Unpack an image that an engine holds, with what it says of its processes."""
    folder.mkdir()
    found = json.loads(_output(engine, "inspect", "--type", "image", image))
    if engine == "buildah":
        config = found["OCIv1"]["config"]
        _unpack_by_mount(engine, image, folder)
    else:
        config = found[0]["Config"]
        _unpack_by_export(engine, image, folder)
    environment = dict(variable.split("=", 1) for variable in config.get("Env") or ())
    entrypoint, arguments = (tuple(config.get(name) or ()) for name in ("Entrypoint", "Cmd"))
    return ImageRoot(folder, environment, config.get("WorkingDir") or "/", entrypoint, arguments)


def _mount(path: str, source: Path | None) -> tuple[str, str, str]:
    return ("tmpfs", path, "") if source is None else ("ro", path, str(source))


def _unpack_by_mount(engine: str, image: str, folder: Path) -> None:
    container = _output(engine, "from", image)
    try:
        subprocess.run(["cp", "-a", f"{_output(engine, 'mount', container)}/.", str(folder)], check=True)
    finally:
        _output(engine, "rm", container)


def _unpack_by_export(engine: str, image: str, folder: Path) -> None:
    container = _output(engine, "create", image)
    try:
        with subprocess.Popen([engine, "export", container], stdout=subprocess.PIPE) as export:
            subprocess.run(["tar", "-x", "-C", str(folder)], stdin=export.stdout, check=True)
    finally:
        _output(engine, "rm", container)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
