"""A small Hub in the standard library, for the huggingface_hub that is installed.

Its clients need HF_ENDPOINT and the like before they import anything: they run in processes of
their own, with `Hub.environment`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKENS = {"hf_write": "write", "hf_read": "read", "hf_fine": "fineGrained"}
"""All of them `me`'s; the fine-grained one was given no rights."""
LICENCES = {"apache-2.0", "mit", "cc-by-sa-3.0", "other"}
REPO_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass
class Repo:
    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b""}])
    """The files after each commit."""

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    @property
    def sha(self) -> str:
        return sha1(f"{len(self.commits)} {sorted(self.files)}".encode()).hexdigest()


@dataclass
class Failure:
    """An answer that is given instead of the right one."""

    request: str
    """A regular expression for the method and path, "PUT .*/lfs/"."""
    status: int
    times: int = 1_000_000


class Hub:
    """A server on a port of its own while the context lasts; `repos` is what it holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.failures: list[Failure] = []
        self.unknown: list[str] = []
        """Requests that this Hub has no answer to."""
        self.lock = Lock()

    def __enter__(self) -> Hub:
        hub = self

        class Bound(_Handler):
            pass

        Bound.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, cache: str, token: str = "hf_write") -> dict[str, str]:
        """For a client process with an empty cache of its own."""
        own = {"HF_HOME": str(self.folder / cache), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
        own |= {"HF_ENDPOINT": self.endpoint, "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
        return {**os.environ, **own}


def card_errors(text: str) -> list[str]:
    """What the Hub refuses in a card's metadata."""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if match is None:
        return ["there is no metadata block"]
    try:
        values = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"not YAML: {error}"]
    if not isinstance(values, Mapping):
        return ["the metadata must be an object"]
    errors = []
    for key in ("base_model", "datasets"):
        given = values.get(key, [])
        for name in [given] if isinstance(given, str) else given:
            if not isinstance(name, str) or not REPO_ID.fullmatch(name):
                errors.append(f'"{key}" with value "{name}" is not valid. Use a Hub id.')
    if "license" in values and values["license"] not in LICENCES:
        errors.append('"license" must be one of the known ones')
    if not re.fullmatch("[a-z]{2,3}", values.get("language", "en")):
        errors.append('"language" must be an ISO 639 code')
    for key, kind in (("tags", list), ("library_name", str), ("pipeline_tag", str)):
        if key in values and not isinstance(values[key], kind):
            errors.append(f'"{key}" must be a {kind.__name__}')
    for index, entry in enumerate(values.get("model-index", [])):
        place = f'"model-index[{index}]'
        if not isinstance(entry.get("name"), str):
            errors.append(f'{place}.name" is required')
        for result in entry["results"]:
            task, data = result.get("task", {}), result.get("dataset", {})
            for name, found in (("task.type", task.get("type")), ("dataset.type", data.get("type")),
                                ("dataset.name", data.get("name"))):  # fmt: skip
                if not isinstance(found, str):
                    errors.append(f'{place}.results.{name}" is required')
            for metric in result["metrics"]:
                value = metric.get("value")
                if not isinstance(metric.get("type"), str) or not isinstance(value, int | float):
                    errors.append(f'{place}.results.metrics" need a type and a number')
    return errors


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        with self.hub.lock:
            for failure in self.hub.failures:
                if failure.times and re.search(failure.request, request):
                    failure.times -= 1
                    self._send(failure.status, {"error": "on purpose"})
                    return
            for pattern, act in ROUTES:
                match = re.fullmatch(pattern, request)
                if match is not None:
                    act(self, body, *match.groups())
                    return
        self.hub.unknown.append(request)
        self._send(404, {"error": f"this Hub has no {request}"})

    def _send(
        self,
        status: int,
        content: object = None,
        headers: Mapping[str, str] | None = None,
        error: str | None = None,
    ) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if error is not None:
            self.send_header("X-Error-Code", error)
        if isinstance(content, dict) and "error" in content:
            self.send_header("X-Error-Message", content["error"])
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # ------------------------------------------------------------------ who may do what

    def _role(self) -> str | None:
        return TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _may_write(self, repo: str) -> bool:
        if self._role() is None:
            self._send(401, {"error": "Invalid credentials in Authorization header"})
        elif self._role() != "write" or not repo.startswith("me/"):
            owner = repo.partition("/")[0]
            self._send(403, {"error": f"You don't have the rights to write under {owner}"})
        else:
            return True
        return False

    def _readable(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self._role() is None):
            self._send(401, {"error": "Repository not found"}, error="RepoNotFound")
            return None
        return repo

    # ------------------------------------------------------------------ what a client asks for

    def nothing(self, body: bytes) -> None:
        self._send(200, {})

    def whoami(self, body: bytes) -> None:
        role = self._role()
        if role is None:
            self._send(401, {"error": "Invalid credentials in Authorization header"})
            return
        token = {"displayName": f"my {role} token", "role": role}
        self._send(200, {"name": "me", "type": "user", "auth": {"accessToken": token}})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if self._may_write(name):
            url = {"url": f"{self.hub.endpoint}/{name}"}
            if name in self.hub.repos:
                self._send(409, {**url, "error": "You already created this model repo"})
            else:
                self.hub.repos[name] = Repo(asked.get("visibility") == "private")
                self._send(200, url)

    def check_write(self, body: bytes, name: str) -> None:
        if self._readable(name) is not None and self._may_write(name):
            self._send(200, {})

    def validate(self, body: bytes) -> None:
        errors = [{"message": message} for message in card_errors(json.loads(body)["content"])]
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, body: bytes, name: str) -> None:
        repo = self._readable(name)
        if repo is None or not self._may_write(name):
            return
        files = []
        for file in json.loads(body)["files"]:
            held = repo.files.get(file["path"])
            large = file["path"].endswith(".safetensors") or file["size"] > 10_000_000
            files.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": None if held is None else _oid(held, large),
                }
            )
        self._send(200, {"files": files})

    def lfs_batch(self, body: bytes, name: str) -> None:
        repo = self._readable(name)
        if repo is None or not self._may_write(name):
            return
        held = {sha256(data).hexdigest() for data in repo.files.values()}
        objects = []
        for wanted in json.loads(body)["objects"]:
            href = f"{self.hub.endpoint}/{name}/lfs/{wanted['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append(wanted if wanted["oid"] in held else {**wanted, "actions": actions})
        self._send(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, body: bytes, name: str, oid: str) -> None:
        if sha256(body).hexdigest() != oid:
            self._send(400, {"error": "the content is not what was announced"})
            return
        self.hub.objects[oid] = body
        self._send(200)

    def lfs_verify(self, body: bytes, name: str, oid: str) -> None:
        same = len(self.hub.objects.get(oid, b"")) == json.loads(body)["size"]
        self._send(200 if same else 404, {})

    def commit(self, body: bytes, name: str) -> None:
        repo = self._readable(name)
        if repo is None or not self._may_write(name):
            return
        files = dict(repo.files)
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        repo.commits.append(files)
        url = f"{self.hub.endpoint}/{name}/commit/{repo.sha}"
        self._send(200, {"success": True, "commitUrl": url, "commitOid": repo.sha})

    def info(self, body: bytes, name: str, revision: str | None = None) -> None:
        repo = self._readable(name)
        if repo is not None:
            siblings = [{"rfilename": file} for file in sorted(repo.files)]
            about: dict[str, Any] = {"id": name, "modelId": name, "sha": repo.sha}
            about |= {"private": repo.private, "siblings": siblings, "tags": []}
            self._send(200, about)

    def tree(self, body: bytes, name: str, revision: str, folder: str | None) -> None:
        repo = self._readable(name)
        if repo is None:
            return
        held = {path: data for path, data in repo.files.items() if path.startswith(folder or "")}
        if not held:
            self._send(404, {"error": "no such folder"}, error="EntryNotFound")
            return
        self._send(
            200,
            [
                {"type": "file", "path": path, "size": len(data), "oid": _oid(data, False)}
                for path, data in held.items()
            ],
        )

    def resolve(self, body: bytes, name: str, revision: str, path: str) -> None:
        repo = self._readable(name)
        if repo is None:
            return
        headers = {"X-Repo-Commit": repo.sha}
        if revision not in ("main", repo.sha):
            self._send(404, {"error": "no such revision"}, headers, error="RevisionNotFound")
        elif path not in repo.files:
            self._send(404, {"error": "no such file"}, headers, error="EntryNotFound")
        else:
            data = repo.files[path]
            oid = sha256(data).hexdigest()
            if oid in self.hub.objects:
                headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(data))}
                # Another host, as far as the client can tell: large files come without a token.
                host = self.hub.endpoint.replace("127.0.0.1", "localhost")
                self._send(302, b"", headers | {"Location": f"{host}/objects/{oid}"})
            else:
                self._send(200, data, headers | {"ETag": f'"{oid}"'})

    def large(self, body: bytes, oid: str) -> None:
        self._send(200, self.hub.objects[oid])


def _oid(data: bytes, large: bool) -> str:
    """As git, or LFS, names a content."""
    if large:
        return sha256(data).hexdigest()
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, Any]] = [
    (r"(?:GET|HEAD) /?", _Handler.nothing),
    (r"GET /api/agent-harnesses", _Handler.nothing),
    (r"GET /api/whoami-v2", _Handler.whoami),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"GET /api/models/{_NAME}/auth-check/write", _Handler.check_write),
    (rf"POST /api/models/{_NAME}/preupload/main", _Handler.preupload),
    (rf"POST /{_NAME}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (rf"PUT /{_NAME}/lfs/(\w+)", _Handler.lfs_put),
    (rf"POST /{_NAME}/lfs/(\w+)/verify", _Handler.lfs_verify),
    (rf"POST /api/models/{_NAME}/commit/main", _Handler.commit),
    (r"(?:GET|HEAD) /objects/(\w+)", _Handler.large),
    (rf"GET /api/models/{_NAME}", _Handler.info),
    (rf"GET /api/models/{_NAME}/revision/(\w+)", _Handler.info),
    (rf"GET /api/models/{_NAME}/tree/(\w+)(?:/(.+))?", _Handler.tree),
    (rf"(?:GET|HEAD) /{_NAME}/resolve/(\w+)/(.+)", _Handler.resolve),
]
