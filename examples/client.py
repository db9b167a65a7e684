#!/usr/bin/env python3
"""Starts a VM and waits for it, with nothing but Python's standard library.

XENGATE_URL=http://127.0.0.1:8080 XENGATE_USER=root XENGATE_PASSWORD=… examples/client.py [NAME]

Without a name it takes the first VM that is halted.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request


class Problem(Exception):
    """What the gateway answers instead of what was asked for: RFC 9457, with a stable `code`."""

    def __init__(self, document):
        super().__init__(f"{document['code']}: {document.get('detail', document['title'])}")
        self.code = document["code"]
        self.retryable = document["retryable"]
        # What a task says that failed is of no request.
        self.request_id = document.get("request_id")


class Gateway:
    """A session of a gateway; it ends with the `with` block."""

    def __init__(self, url, username, password):
        self.url, self.token = url.rstrip("/"), None
        login = {"username": username, "password": password}
        self.token = self.ask("POST", "/sessions", login)["token"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ask("DELETE", "/sessions/current")

    def ask(self, method, path, body=None, query=None, wait=None):
        """One request; the answer as JSON, or None where there is nothing to say."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if wait:
            headers["Prefer"] = f"wait={wait}"
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read()
            if error.headers.get_content_type() == "application/problem+json":
                raise Problem(json.loads(text)) from None
            raise
        return json.loads(text) if text else None

    def every(self, collection, **query):
        """All objects of a collection, page by page."""
        while True:
            page = self.ask("GET", f"/{collection}", query=query)
            yield from page["items"]
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def act(self, path, body=None):
        """An action that the pool runs as a task, until that has ended."""
        task = self.ask("POST", path, body, wait=30)
        while task["status"] == "pending":
            task = self.ask("GET", f"/tasks/{task['uuid']}", query={"wait": 60})
        if task["status"] != "success":
            raise Problem(task["error"])
        return task


def main():
    url = os.environ.get("XENGATE_URL", "http://127.0.0.1:8080")
    user = os.environ.get("XENGATE_USER", "root")
    with Gateway(url, user, os.environ["XENGATE_PASSWORD"]) as gateway:
        wanted = "power_state = Halted"
        if len(sys.argv) > 1:
            wanted += f" and name_label = {json.dumps(sys.argv[1])}"
        halted = gateway.every("vms", filter=wanted, fields="uuid,name_label", sort="name_label", limit=100)
        vm = next(halted, None)
        if vm is None:
            sys.exit("no such VM is halted")
        path = f"/vms/{vm['uuid']}"
        gateway.act(f"{path}/actions/start")
        now = gateway.ask("GET", path)
        print(f"{now['name_label']} is {now['power_state']}")
        try:
            gateway.act(f"{path}/actions/start")
        except Problem as problem:
            print(f"again: {problem.code}")


if __name__ == "__main__":
    main()
