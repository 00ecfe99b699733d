"""A re-ranking server to test with: python rerank_server.py MODEL [DIES_AFTER [PORT]]; it prints its port.

It answers in the forms of text-embeddings-inference, vLLM and Jina, as the request has it. The score of a pair is a
hash of MODEL and the texts. A word in the path before /rerank or /score makes it answer wrongly.
"""

import hashlib
import json
import math
import os
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = sys.argv[1]
DIES_AFTER = int(sys.argv[2]) if len(sys.argv) > 2 else 0
SEEN, LOCK, TOGETHER = Counter(), threading.Lock(), threading.Condition()
WRONG = {"401": 401, "403": 403, "404": 404, "413": 413, "429": 429, "500": 500, "302": 302}


def score(query, document):
    digest = hashlib.blake2b(f"{MODEL}\n{query}\n{document}".encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "little") / 2**32 - 0.5) * 16


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.path.split("/")[1]
        with LOCK:
            SEEN["requests"] += 1
            if DIES_AFTER and SEEN["requests"] > DIES_AFTER:
                os._exit(1)
            SEEN[self.path, json.dumps(body, sort_keys=True)] += 1
            tries = SEEN[self.path, json.dumps(body, sort_keys=True)]
        if fault in WRONG or (fault == "flaky" and tries < 3):
            told = json.dumps({"error": f"no {self.headers.get('Authorization')}"}).encode()
            return self.answer(WRONG.get(fault, 503), told, Location="http://elsewhere/rerank")
        if fault == "html":
            return self.answer(200, b"<!doctype html><html>Sign in</html>")
        if fault == "slow":
            threading.Event().wait(5)
        if fault == "together":  # answers when three requests are there at once
            with TOGETHER:
                SEEN["waiting"] += 1
                TOGETHER.notify_all()
                TOGETHER.wait_for(lambda: SEEN["waiting"] >= 3)
        if fault == "key" and self.headers.get("Authorization") != "Bearer s3cret-of-the-test":
            return self.answer(401, b"{}")
        return self.answer(200, json.dumps(wrong(fault, *answer(fault, body))).encode())

    def answer(self, status, content, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def answer(fault, body):
    """Return the rows of an answer, best first, and what puts them into an answer."""
    query = body["text_1"] if "text_1" in body else body["query"]
    documents = body.get("texts") or body.get("text_2") or body["documents"]
    raw = body.get("raw_scores", not body.get("use_activation", False)) and fault != "disobeys"
    key = "relevance_score" if "documents" in body else "score"
    logits = [score(query, document) for document in documents]
    values = [logit if raw else 1 / (1 + math.exp(-logit)) for logit in logits]
    rows = [{"index": index, key: value} for index, value in enumerate(values)]
    rows.sort(key=lambda row: -row[key])
    if "texts" in body:
        return rows, lambda rows: rows
    if "text_1" in body:
        return rows, lambda rows: {"id": "score-1", "object": "list", "model": body["model"], "data": rows, "usage": {}}
    return rows, lambda rows: {"id": "rerank-1", "model": body["model"], "results": rows, "usage": {"total_tokens": 1}}


def wrong(fault, rows, put):
    key = next(name for name in rows[0] if name != "index")
    match fault:
        case "nan":
            rows[-1][key] = math.nan
        case "null":
            rows[-1][key] = None
        case "text":
            rows[-1][key] = "1.5"
        case "fewer":
            rows = rows[:-1]
        case "twice":
            rows[-1]["index"] = rows[0]["index"]
        case "beyond":
            rows[-1]["index"] = len(rows)
        case "noindex":
            rows = [{key: row[key]} for row in rows]
        case "columns":
            rows = [{"index": row["index"], "relevance": row[key]} for row in rows]
        case "wrapped":
            return {"output": put(rows)}
        case "scores":
            return [row[key] for row in rows]
    return put(rows)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
