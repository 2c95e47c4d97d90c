"""A Hub on this machine: as much of its HTTP interface as publishing a model, loading it and streaming data need."""

import base64
import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

OWNER, READER = "hf_owner", "hf_reader"
USERS = {OWNER: "me", READER: "guest"}
LARGE = (".safetensors", ".png")
REPO = r"(?P<repo>(?:(?:spaces|datasets)/)?[\w.-]+/[\w.-]+)"  # a Space is kept under spaces/OWNER/NAME, data alike


@dataclass
class Repo:
    private: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, ref: str, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(repr((ref, len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha], self.refs[ref] = files, sha
        return sha


class Hub(ThreadingHTTPServer):
    """The server and what it stores.

    Transfers of a path that contains a part named in `cut` break off: the first halfway, others before their first
    byte. A GET of /mend ends that.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def make_repo(self, name: str, private: bool = False) -> Repo:
        self.repos[name] = repo = Repo(private)
        repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        return repo

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what some tests are about."""


class HubError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        # The connection is closed: what was sent along may not have been read.
        headers = {"X-Error-Code": code, "X-Error-Message": message, "Connection": "close"}
        self.answer = (status, {"error": message}, headers)


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.path, self.query = unquote(url.path), url.query
        self.path = re.sub("^/api/(spaces|datasets)/", r"/api/models/\1/", self.path)
        self.server.requests.append(f"{self.command} {self.path}")
        try:
            for (method, pattern), route in ROUTES.items():
                if method in (self.command, "GET" if self.command == "HEAD" else "") and (
                    match := re.fullmatch(pattern, self.path)
                ):
                    self.reply(*route(self, **match.groupdict()))
                    return
            raise HubError(404, "", f"no such address: {self.path}")
        except HubError as problem:
            self.reply(*problem.answer)

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def reply(self, status: int, content: Any, headers: dict[str, str]) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        size = len(body)
        self.wfile.write(body[: self.passes(size)])
        if self.passes(size) < size:
            self.hang_up()

    def passes(self, size: int) -> int:
        """How many bytes of a transfer get through."""
        part = next((part for part in self.server.cut if part in self.path), None)
        return size if part is None else 0 if self.server.cut[part] else size // 2

    def hang_up(self) -> None:
        for part in self.server.cut:
            self.server.cut[part] += part in self.path
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    def body(self) -> bytes:
        size = int(self.headers.get("Content-Length", 0))
        if self.passes(size) < size:
            self.rfile.read(self.passes(size))
            self.hang_up()
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(size)

    def json(self) -> Any:
        return json.loads(self.body())

    def user(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in USERS:
            raise HubError(401, "", "Invalid credentials in Authorization header")
        return USERS.get(token)

    def repo(self, name: str, write: bool = False) -> Repo:
        user, repo = self.user(), self.server.repos.get(name)
        if repo is None or (repo.private and user != name.split("/")[-2]):
            raise HubError(404, "RepoNotFound", "Repository not found")
        if write and user != name.split("/")[-2] and "create_pr=1" not in self.query:
            raise HubError(403, "", "You don't have the rights to write to this repository")
        return repo

    def files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        repo = self.repo(name)
        sha = repo.refs.get(revision, revision)
        if sha not in repo.commits:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha, repo.commits[sha]


Reply = tuple[int, Any, dict[str, str]]


def whoami(http: Handler) -> Reply:
    if http.user() is None:
        raise HubError(401, "", "Invalid username or password.")
    return 200, {"type": "user", "name": http.user(), "orgs": [], "auth": {}}, {}


def mend(http: Handler) -> Reply:
    http.server.cut.clear()
    return 200, {}, {}


def create(http: Handler) -> Reply:
    wanted = http.json()
    name = f"{wanted['organization'] or http.user()}/{wanted['name']}"
    if http.user() != name.split("/")[0]:
        raise HubError(403, "", "You don't have the rights to create a model under this namespace")
    if wanted.get("type") == "space":
        assert wanted["sdk"] == "gradio"
        name = f"spaces/{name}"
    exists = name in http.server.repos
    if not exists:
        http.server.make_repo(name, wanted.get("visibility") == "private")
    return (409 if exists else 200), {"url": f"{http.server.url}/{name}", "name": name}, {}


def validate_yaml(http: Handler) -> Reply:
    wanted = http.json()
    header = yaml.safe_load(wanted["content"].split("---")[1])
    if wanted["repoType"] == "space":
        assert header["sdk"] == "gradio"
    elif "model-index" in header:
        assert header["model-index"][0]["results"]
    return 200, {"errors": [], "warnings": []}, {}


def info(http: Handler, repo: str, revision: str = "main") -> Reply:
    sha, files = http.files(repo, revision)
    card = yaml.safe_load(files.get("README.md", b"---\n{}\n---").decode().split("---")[1])
    known = {name: card.get(name) for name in ("pipeline_tag", "library_name", "tags")}
    siblings = [{"rfilename": path} for path in files]
    return 200, {"id": repo, "sha": sha, "private": http.repo(repo).private, "siblings": siblings, **known}, {}


def preupload(http: Handler, repo: str, revision: str) -> Reply:
    wanted = http.json()["files"]
    http.repo(repo, write=True)
    http.files(repo, revision)
    modes = {True: "lfs", False: "regular"}
    files = [{"path": file["path"], "uploadMode": modes[file["path"].endswith(LARGE)]} for file in wanted]
    return 200, {"files": [{"shouldIgnore": False, **file} for file in files]}, {}


def lfs_batch(http: Handler, repo: str) -> Reply:
    objects = [
        {"actions": {"upload": {"href": f"{http.server.url}/lfs/{file['oid']}"}}, **file}
        for file in http.json()["objects"]
    ]
    return 200, {"transfer": "basic", "objects": objects}, {}


def put_blob(http: Handler, oid: str) -> Reply:
    content = http.body()
    assert hashlib.sha256(content).hexdigest() == oid
    http.server.blobs[oid] = content
    return 200, {}, {}


def commit(http: Handler, repo: str, revision: str) -> Reply:
    lines = [json.loads(line) for line in http.body().splitlines()]
    stored = http.repo(repo, write=True)
    files = dict(http.files(repo, revision)[1])
    for line in lines[1:]:
        value = line["value"]
        large = line["key"] == "lfsFile"
        files[value["path"]] = http.server.blobs[value["oid"]] if large else base64.b64decode(value["content"])
    request = "create_pr=1" in http.query
    sha = stored.commit(f"refs/pr/{len(stored.commits)}" if request else revision, files)
    page = f"{http.server.url}/{repo}"
    links = {"commitOid": sha, "commitUrl": f"{page}/commit/{sha}", "pullRequestUrl": f"{page}/discussions/1"}
    return 200, links, {}


def resolve(http: Handler, repo: str, revision: str, path: str) -> Reply:
    sha, files = http.files(repo, revision)
    if path not in files:
        raise HubError(404, "EntryNotFound", "Entry not found")
    content, headers = files[path], {"ETag": f'"{hashlib.sha256(files[path]).hexdigest()}"', "X-Repo-Commit": sha}
    if part := re.fullmatch(r"bytes=(\d+)-(\d+)", http.headers.get("Range", "")):
        first, last = int(part[1]), min(int(part[2]), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return 206, content[first : last + 1], headers
    return 200, content, headers


def entry(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


def tree(http: Handler, repo: str, revision: str, folder: str | None = None) -> Reply:
    files = http.files(repo, revision)[1]
    if folder is not None:
        files = {path: content for path, content in files.items() if path.startswith(f"{folder}/")}
        if not files:
            raise HubError(404, "EntryNotFound", f"{folder} does not exist")
    return 200, [entry(path, content) for path, content in files.items()], {}


def paths_info(http: Handler, repo: str, revision: str) -> Reply:
    _, files = http.files(repo, revision)
    wanted = parse_qs(http.body().decode())["paths"]
    return 200, [entry(path, files[path]) for path in wanted if path in files], {}


ROUTES = {
    ("GET", "/mend"): mend,
    ("GET", "/api/whoami-v2"): whoami,
    ("POST", "/api/repos/create"): create,
    ("POST", "/api/validate-yaml"): validate_yaml,
    ("GET", f"/api/models/{REPO}"): info,
    ("GET", f"/api/models/{REPO}/revision/(?P<revision>.+)"): info,
    ("POST", f"/api/models/{REPO}/preupload/(?P<revision>.+)"): preupload,
    ("POST", f"/{REPO}.git/info/lfs/objects/batch"): lfs_batch,
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})"): put_blob,
    ("POST", f"/api/models/{REPO}/commit/(?P<revision>.+)"): commit,
    ("GET", f"/{REPO}/resolve/(?P<revision>(?:refs/pr/)?[^/]+)/(?P<path>.+)"): resolve,
    ("POST", f"/api/models/{REPO}/paths-info/(?P<revision>.+)"): paths_info,
    ("GET", f"/api/models/{REPO}/tree/(?P<revision>(?:refs/pr/)?[^/]+)(?:/(?P<folder>.+))?"): tree,
}


@contextmanager
def running() -> Iterator[Hub]:
    """A Hub that answers while the context lasts."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def environment(hub: Hub, home: Path, **variables: str) -> dict[str, str]:
    """Of a process that knows this Hub and no other."""
    known = {"HF_ENDPOINT": hub.url, "HF_TOKEN": OWNER, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    return os.environ | known | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **variables}
