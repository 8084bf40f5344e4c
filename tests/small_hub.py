"""A small Hub on the loopback address, as the Hugging Face Hub answers: reading, writing, faults.

It speaks HTTP/1.1 in threads and keeps everything in memory. Large files lie behind a redirect,
as on the real one, whose headers ``X-Linked-*`` and ``X-Repo-Commit`` the client reads.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE = 10_000  # bytes; on the real Hub some megabytes, or whatever .gitattributes says


@dataclass
class Repository:
    """Files a commit, commits by name."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(
        self, files: dict[str, bytes], branch: str = "main", *, deleted: Collection[str] = ()
    ) -> str:
        before = self.commits.get(self.branches.get(branch) or self.branches.get("main", ""), {})
        after = {path: data for path, data in before.items() if path not in deleted} | files
        contents = sorted((path, _blob(data)) for path, data in after.items())
        text = repr((len(self.commits), contents, branch)).encode()
        name = hashlib.sha1(text).hexdigest()
        self.commits[name], self.branches[branch] = after, name
        return name

    @property
    def head(self) -> str:
        return self.branches["main"]

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)


@dataclass
class SmallHub:
    """What the server holds, what it was asked, and how it is to fail.

    Attributes:
        address: To be given as HF_ENDPOINT.
        repositories: By ``org/name``.
        readers: Tokens that gated and private repositories let in.
        writers: Tokens that may write.
        requests: ``METHOD path`` of every request, with its range where it has one.
        agents: What the requests say of who asks.
        cut_after: Drop the connection after so many bytes of a large file.
        cut_times: How often; the following requests are answered whole.
        pause: Seconds to wait before answering at all.
        broken: Answer everything with status 500.
    """

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    readers: set[str] = field(default_factory=lambda: {"reader", "writer"})
    writers: set[str] = field(default_factory=lambda: {"writer"})
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    cut_after: int = 0
    cut_times: int = 0
    pause: float = 0.0
    broken: bool = False

    def asked(self, part: str) -> list[str]:
        """Return the requests that hold a text, oldest first."""
        return [request for request in self.requests if part in request]

    def add(self, name: str, files: dict[str, bytes], **flags: bool) -> Repository:
        self.repositories[name] = Repository(**flags)
        self.repositories[name].commit(files)
        return self.repositories[name]


@contextlib.contextmanager
def small_hub() -> Iterator[SmallHub]:
    """Serve a Hub until the block ends."""
    hub = SmallHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _RefusedError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status, code)
        self.headers = {"X-Error-Code": code} if code else {}
        self.headers |= {"X-Error-Message": message} if message else {}
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: SmallHub

    def log_message(self, *words: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # clients that stop in the middle
            super().handle()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            self.body = b"".join(self._chunks())
        path = unquote(urlsplit(self.path).path)
        span = self.headers.get("Range")
        self.hub.requests.append(f"{self.command} {path}" + (f" {span}" if span else ""))
        self.hub.agents.add(self.headers.get("User-Agent") or "")
        time.sleep(self.hub.pause)
        try:
            if self.hub.broken:
                raise _RefusedError(500)
            for pattern, method in _ROUTES:
                match = re.fullmatch(pattern, f"{self.command} {path}")
                if match:
                    method(self, *match.groups())
                    return
            raise _RefusedError(404)
        except _RefusedError as refusal:
            self._send(refusal.status, b"{}", refusal.headers)

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    @property
    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self._token not in self.hub.readers):
            raise _RefusedError(404 if self._token else 401, "RepoNotFound")
        return found

    def _commit(self, name: str, revision: str) -> tuple[Repository, str]:
        repository = self._repository(name)
        commit = repository.find(revision)
        if commit is None:
            raise _RefusedError(404, "RevisionNotFound")
        return repository, commit

    def _may_write(self) -> None:
        if self._token not in self.hub.writers:
            raise _RefusedError(403 if self._token else 401, "", "you may not write here")

    # Reading

    def info(self, name: str, revision: str | None = None) -> None:
        repository, commit = self._commit(name, revision or "main")
        self._json({"id": name, "sha": commit, "private": repository.private, "siblings": []})

    def listing(self) -> None:
        """Filter by what the cards' headers name as library and tags, as the real one does."""
        asked = parse_qs(urlsplit(self.path).query)
        found = []
        for name, repository in self.hub.repositories.items():
            card = repository.commits[repository.head].get("README.md", b"").decode()
            header = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---") else {}
            tags = [*header.get("tags", []), header.get("library_name", "")]
            words = asked.get("search", [""])[0]
            visible = not repository.private or self._token in self.hub.readers
            if visible and words in name and {*asked.get("filter", [])} <= {*tags}:
                found.append({"id": name, "tags": tags, "downloads": 3})
        self._json(found)

    def tree(self, name: str, revision: str) -> None:
        repository, commit = self._commit(name, revision)
        self._json([_listed(*item) for item in repository.commits[commit].items()])

    def resolve(self, name: str, revision: str, path: str) -> None:
        repository, commit = self._commit(name, revision)
        if repository.gated and self._token not in self.hub.readers:
            raise _RefusedError(403 if self._token else 401, "GatedRepo", "Access is restricted")
        if path not in repository.commits[commit]:
            raise _RefusedError(404, "EntryNotFound")
        data = repository.commits[commit][path]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(data) < LARGE:
            self._send(200, data, {**headers, "ETag": f'"{_blob(data)}"'})
            return
        oid = hashlib.sha256(data).hexdigest()
        self.hub.large[oid] = data
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(data))}
        elsewhere = self.hub.address.replace("127.0.0.1", "localhost")  # another host, as there
        self._send(302, b"", {**headers, "Location": f"{elsewhere}/cdn/{oid}"})

    def content(self, oid: str) -> None:
        data, headers, status = self.hub.large[oid], {"ETag": f'"{oid}"'}, 200
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if span:
            first = int(span[1])
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            data, status = data[first:], 206
        if not self.hub.cut_times or self.command == "HEAD":
            self._send(status, data, headers)
            return
        self.hub.cut_times -= 1
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: self.hub.cut_after])
        self.close_connection = True

    # Writing

    def create(self) -> None:
        self._may_write()
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        url = f"{self.hub.address}/{name}"
        if name in self.hub.repositories:
            self._json({"url": url, "error": "You already created this model repo"}, 409)
            return
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.add(name, {".gitattributes": b""}, private=bool(private))
        self._json({"url": url, "name": name, "id": name})

    def branch(self, name: str, branch: str) -> None:
        self._may_write()
        repository = self._repository(name)
        if branch in repository.branches:
            raise _RefusedError(409)
        repository.branches[branch] = repository.branches["main"]
        self._json({})

    def validate(self) -> None:
        """Check a card's header by rules that the real one documents."""
        values = yaml.safe_load(json.loads(self.body)["content"].split("---\n")[1])
        errors = [{"message": text} for text in _card_faults(values)]
        self._json({"warnings": [], "errors": errors}, 400 if errors else 200)

    def preupload(self, name: str, revision: str) -> None:
        self._may_write()
        self._commit(name, revision)
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= LARGE else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._json({"files": files})

    def batch(self, name: str) -> None:
        self._may_write()
        objects = []
        for item in json.loads(self.body)["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.large:
                upload = {"href": f"{self.hub.address}/lfs/{item['oid']}", "header": {}}
                answer["actions"] = {"upload": upload}
            objects.append(answer)
        self._json({"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _RefusedError(400, "", "other bytes than were announced")
        self.hub.large[oid] = self.body
        self._send(200, b"")

    def take(self, name: str, revision: str) -> None:
        self._may_write()
        repository, _ = self._commit(name, revision)
        files, deleted = {}, []
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif item["key"] == "deletedFile":
                deleted.append(value["path"])
        commit = repository.commit(files, revision, deleted=deleted)
        url = f"{self.hub.address}/{name}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


_LICENCES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-nd-4.0", "gpl-3.0", "other", "unknown"}


def _card_faults(values: dict[str, Any]) -> Iterator[str]:
    if values.get("license") not in _LICENCES:
        yield f'"license" must be one of {sorted(_LICENCES)}'
    if "license_name" in values and not re.fullmatch(r"[a-z0-9.-]+", values["license_name"]):
        yield '"license_name" must be lower case, digits, points and dashes'
    for key in ("base_model", "datasets"):
        names = values.get(key, [])
        for name in [names] if isinstance(names, str) else names:
            if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
                yield f'"{key}" must hold names of repositories, not {name!r}'
    for model in values.get("model-index", []):
        for result in model["results"]:
            if not {"type"} <= {*result["task"]} or not {"type", "name"} <= {*result["dataset"]}:
                yield "a result needs a task and a data set with a type, and the latter a name"
            for metric in result["metrics"]:
                if not {"type", "value"} <= {*metric}:
                    yield "a metric needs a type and a value"


_NAME = r"([^/]+/[^/]+)"
_ROUTES = (
    (r"GET /api/models", _Handler.listing),
    (r"GET /api/models/" + _NAME, _Handler.info),
    (r"GET /api/models/" + _NAME + r"/revision/(.+)", _Handler.info),
    (r"GET /api/models/" + _NAME + r"/tree/(.+)", _Handler.tree),
    (r"(?:GET|HEAD) /" + _NAME + r"/resolve/([^/]+)/(.+)", _Handler.resolve),
    (r"(?:GET|HEAD) /cdn/(\w+)", _Handler.content),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/models/" + _NAME + r"/branch/(.+)", _Handler.branch),
    (r"POST /api/validate-yaml", _Handler.validate),
    (r"POST /api/models/" + _NAME + r"/preupload/(.+)", _Handler.preupload),
    (r"POST /" + _NAME + r"\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /lfs/(\w+)", _Handler.put),
    (r"POST /api/models/" + _NAME + r"/commit/(.+)", _Handler.take),
)


def _listed(path: str, data: bytes) -> dict[str, object]:
    item: dict[str, object] = {
        "type": "file",
        "path": path,
        "size": len(data),
        "oid": _blob(data),
    }
    if len(data) >= LARGE:
        oid = hashlib.sha256(data).hexdigest()
        item["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 134}
    return item


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
