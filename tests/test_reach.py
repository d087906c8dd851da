"""Whether the Hub answers."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from huggingface_hub import constants

from finetune.reach import hub_answers


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404)  # that it answers is enough
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a server on this machine."""
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_is_asked_unless_everything_is_to_be_offline(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub_answers.__wrapped__
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    assert not asked()  # tests are offline
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert asked()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")  # where nobody listens
    assert not asked()
