"""A hub on this machine: an HTTP server that speaks what huggingface_hub's client calls to upload and download."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories in memory: name → branch → path → content."""

    def __init__(self):
        self.repos = {}
        self.visibility = {}
        self.messages = []
        self.tokens = set()

    def files(self, name, revision="main"):
        """Path → content, by branch or commit."""
        branches = self.repos[name]
        return next(each for key, each in branches.items() if revision in (key, _commit(each)))

    def commit(self, name, revision):
        return _commit(self.files(name, revision))


def _commit(files):
    return _sha1(json.dumps({path: _sha1(data) for path, data in files.items()}).encode())


def _sha1(data):
    return hashlib.sha1(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The calls of ``create_repo``, ``create_branch``, ``upload_folder`` and ``snapshot_download``."""

    hub: Hub

    def log_message(self, *_):
        pass

    def _answer(self, content, status=200, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self):
        given = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.tokens.add(self.headers.get("Authorization"))
        words = unquote(urlsplit(self.path).path).strip("/").split("/")
        if words[:3] == ["api", "repos", "create"]:
            asked = json.loads(given)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.hub.repos.setdefault(name, {"main": {}})
            self.hub.visibility[name] = asked.get("visibility")
            return self._answer({"url": f"http://{self.headers['Host']}/{name}"})
        if words[:2] == ["api", "validate-yaml"]:
            return self._answer({"errors": [], "warnings": []})
        name, verb = "/".join(words[2:4]), words[4]
        if verb == "branch":
            self.hub.repos[name].setdefault(words[5], dict(self.hub.files(name)))
            return self._answer({})
        if verb == "preupload":
            paths = [each["path"] for each in json.loads(given)["files"]]
            every = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            return self._answer({"files": every})
        assert verb == "commit", self.path
        for line in given.splitlines():
            each = json.loads(line)
            if each["key"] == "header":
                self.hub.messages.append(each["value"]["summary"])
            else:
                self.hub.files(name, words[5])[each["value"]["path"]] = base64.b64decode(each["value"]["content"])
        commit = self.hub.commit(name, words[5])
        address = f"http://{self.headers['Host']}/{name}/commit/{commit}"
        return self._answer({"success": True, "commitOid": commit, "commitUrl": address})

    def do_GET(self):
        words = unquote(urlsplit(self.path).path).strip("/").split("/")
        name = "/".join(words[2:4] if words[0] == "api" else words[:2])
        if name not in self.hub.repos:
            return self._answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        revision = (words[5] if len(words) > 5 else "main") if words[0] == "api" else words[3]
        files, commit = self.hub.files(name, revision), self.hub.commit(name, revision)
        if words[0] == "api" and words[4:5] == ["tree"]:
            sizes = [
                {"type": "file", "path": path, "oid": _sha1(data), "size": len(data)} for path, data in files.items()
            ]
            return self._answer(sizes)
        if words[0] == "api":
            return self._answer({"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})
        data = files.get("/".join(words[4:]))
        if data is None:
            return self._answer({"error": "Entry not found"}, 404, X_Repo_Commit=commit, X_Error_Code="EntryNotFound")
        return self._answer(data, X_Repo_Commit=commit, ETag=f'"{_sha1(data)}"', Accept_Ranges="bytes")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for


@contextmanager
def serving():
    """Serve an empty hub; yields it and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
