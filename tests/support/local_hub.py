"""A Hugging Face hub on loopback with repositories of its own, for the real client: what was asked, and bytes sent."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_member"
"""The token that may read gated repositories."""
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?(?:/(.*))?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_BLOB = re.compile(r"/blobs/([0-9a-f]{64})/(.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(slots=True)
class Repository:
    """A repository of models; a push makes a commit."""

    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def push(self, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Replace the files of a branch; return the commit."""
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        commit = hashlib.sha1(json.dumps(hashes, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
        self.branches[branch], self.commits[commit] = commit, dict(files)
        return commit

    def push_folder(self, folder: Path, **more: bytes) -> str:
        """Push the files of a folder, and more by name."""
        return self.push({path.name: path.read_bytes() for path in folder.iterdir()} | more)


@dataclass(slots=True)
class LocalHub:
    """The repositories, and what the client did."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Method and path of each request."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of content, by the name of the file."""
    busy: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    """Statuses with headers, of which each answers one of the next requests for content."""
    refused: set[str] = field(default_factory=set)
    """Names of files that may not be downloaded whole, as if access had been withdrawn after the first look."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which each of the next transfers of a large file breaks off."""
    stalls: list[int] = field(default_factory=list)
    """Bytes after which each of the next transfers of a large file sends no more, until the client is gone."""

    def repository(self, name: str, *, gated: bool = False) -> Repository:
        """Return a repository, which is made if there is none."""
        return self.repositories.setdefault(name, Repository(gated=gated))

    def reset(self) -> None:
        """Forget what the client did."""
        self.requests.clear()
        self.sent.clear()


@contextmanager
def serve_hub() -> Iterator[LocalHub]:
    """Yield a hub without repositories."""
    hub = LocalHub()

    class Handler(_Handler):
        def __init__(self, *arguments: object) -> None:
            self.hub = hub
            super().__init__(*arguments)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        yield hub
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """One request, as https://huggingface.co answers it."""

    hub: LocalHub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if (found := _API.fullmatch(path)) is not None:
            self._api(*found.groups())
        elif (found := _RESOLVE.fullmatch(path)) is not None:
            self._resolve(*found.groups())
        elif (found := _BLOB.fullmatch(path)) is not None:
            self._blob(*found.groups())
        else:
            self._answer(404)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Be silent."""

    def _api(self, name: str, kind: str | None, revision: str | None, folder: str | None) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._answer(401, X_Error_Code="RepoNotFound")
            return
        commit = _find(repository, revision or "main")
        if commit is None:
            self._answer(404, X_Error_Code="RevisionNotFound")
            return
        files = repository.commits[commit]
        if kind == "tree":
            self._json([*_entries(files)])
        else:
            self._json({"id": name, "sha": commit, "siblings": [{"rfilename": one} for one in files]})

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._answer(401, X_Error_Code="RepoNotFound")
            return
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status = 403 if "Authorization" in self.headers else 401
            self._answer(status, X_Error_Code="GatedRepo", X_Error_Message=f"Access to {name} is restricted")
            return
        commit = _find(repository, revision)
        if commit is None:
            self._answer(404, X_Error_Code="RevisionNotFound")
            return
        data = repository.commits[commit].get(file)
        if data is None:
            self._answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        if file in self.hub.refused and "Range" not in self.headers:
            self._answer(403, X_Error_Code="GatedRepo")
            return
        if self._is_busy():
            return
        sha256, size = hashlib.sha256(data).hexdigest(), str(len(data))
        if _is_large(file):
            linked = {"X_Linked_Size": size, "X_Linked_Etag": f'"{sha256}"', "X_Repo_Commit": commit}
            elsewhere = self.hub.address.replace("127.0.0.1", "localhost")  # the client follows redirects of the hub
            self._answer(302, Location=f"{elsewhere}/blobs/{sha256}/{file}", **linked)
        else:
            self._content(file, data, X_Repo_Commit=commit, ETag=f'"{sha256[:40]}"')

    def _blob(self, sha256: str, file: str) -> None:
        if self._is_busy():
            return
        every = (files for one in self.hub.repositories.values() for files in one.commits.values())
        data = next(data for files in every if (data := files.get(file, b"")) and _sha256(data) == sha256)
        self._content(file, data, cut=bool(self.hub.cuts), ETag=f'"{sha256}"')

    def _is_busy(self) -> bool:
        """Answer a request for content with the next status of `busy`, if there is one."""
        if self.command != "GET" or not self.hub.busy:
            return False
        status, headers = self.hub.busy.pop(0)
        self._answer(status, **headers)
        return True

    def _content(self, name: str, data: bytes, *, cut: bool = False, **headers: str) -> None:
        """Send a file, or the range of it that the request names; break off if `cut`."""
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        part = data[start : int(asked[2]) + 1 if asked and asked[2] else None]
        if asked:
            headers["Content_Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        self._headers(206 if asked else 200, length=len(part), **headers)
        if self.command == "HEAD":
            return
        stalls = _is_large(name) and bool(self.hub.stalls)
        sent = part[: (self.hub.stalls if stalls else self.hub.cuts).pop(0)] if stalls or cut else part
        self.wfile.write(sent)
        self.hub.sent[name] += len(sent)
        if stalls:
            self.connection.recv(1)
            self.close_connection = True
        if cut:
            self.close_connection = True

    def _json(self, values: object) -> None:
        body = json.dumps(values).encode()
        self._headers(200, length=len(body), Content_Type="application/json")
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def _answer(self, status: int, **headers: str) -> None:
        self._headers(status, length=0, **headers)

    def _headers(self, status: int, *, length: int, **headers: str) -> None:
        """Send a status and headers, whose names are written with underscores."""
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(length)}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def _find(repository: Repository, revision: str) -> str | None:
    """Return the commit of a branch, or a commit itself."""
    return revision if revision in repository.commits else repository.branches.get(revision)


def _entries(files: Mapping[str, bytes]) -> Iterator[dict[str, object]]:
    """Yield files and folders at the top."""
    for folder in sorted({name.partition("/")[0] for name in files if "/" in name}):
        yield {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
    for name, data in files.items():
        if "/" not in name:
            entry = {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
            lfs = {"oid": _sha256(data), "size": len(data), "pointerSize": 134}
            yield entry | ({"lfs": lfs} if _is_large(name) else {})


def _is_large(name: str) -> bool:
    return name.endswith(".safetensors")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
