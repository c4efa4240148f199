"""JSON-RPC to the local chain: blocking, batched, one connection.

Only for building and steering the chain. The node reads chains through `adapters.chains`.
"""

import http.client
import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from devnet.errors import DevnetError

RESPONSE_LIMIT_BYTES = 256_000_000
Call = tuple[str, list[Any]]


class LocalRpc:
    """A client of the local chain, safe to share between threads.

    Args:
        url: `http://` address of the chain.
        timeout_seconds: Longest wait for one answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 60) -> None:
        self.url = url
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_seconds)
        self._path = parts.path or "/"
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def request(self, method: str, *parameters: Any) -> Any:
        """Return the result of one call.

        Raises:
            DevnetError: The chain cannot be reached or refuses the call.
        """
        return self.batch([(method, list(parameters))])[0]

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return the results of several calls in order, in one round trip.

        Raises:
            DevnetError: The chain cannot be reached or refuses one of the calls.
        """
        results = []
        for (method, _), answer in zip(calls, self.answers(calls), strict=True):
            if "error" in answer:
                raise DevnetError(f"{method}: {answer['error'].get('message', answer['error'])}")
            results.append(answer["result"])
        return results

    def answers(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        """Return the raw answers of several calls, errors included."""
        if not calls:
            return []
        requests = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": parameters}
            for method, parameters in calls
        ]
        answers = {answer["id"]: answer for answer in self._post(requests)}
        return [answers[request["id"]] for request in requests]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _post(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = json.dumps(requests)
        try:
            with self._lock:
                self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
                content = self._connection.getresponse().read(RESPONSE_LIMIT_BYTES)
            answers = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise DevnetError(f"the local chain at {self.url} does not answer: {error}") from error
        if not isinstance(answers, list):
            raise DevnetError(f"the local chain at {self.url} refused a batch: {answers}")
        return answers
