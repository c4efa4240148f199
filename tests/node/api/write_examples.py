"""Write the examples of the OpenAPI document from a running node's answers.

./run --nodes 1 --port 8547
python tests/node/api/write_examples.py http://127.0.0.1:8547 0x1CBd3b2770909D4e10f157cABC84C7264073C9Ec
"""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from node.api.routes import ROUTES
from tests.patience import HANG_SECONDS

EXAMPLES = Path(__file__).parents[3] / "node" / "api" / "examples.json"
SHOWN_ACCOUNTS = 2


def asked(url: str) -> str:
    with urllib.request.urlopen(url, timeout=HANG_SECONDS) as answer:
        text: str = answer.read().decode()
    return text


def example(url: str, path: str, address: str, round_number: int) -> Any:
    """Return a document, short enough to read."""
    filled = path.replace("{address}", address).replace("{round}", str(round_number))
    if path == "/v1/accounts":
        filled += f"?limit={SHOWN_ACCOUNTS}"
    text = asked(url + filled)
    if path == "/metrics":
        return next(line for line in text.splitlines() if line.startswith("plimsoll_http_requests_total")) + "\n"
    document = json.loads(text)
    if path == "/openapi.json":
        return {**document, "paths": {}, "components": {}}
    return document


def main(url: str, address: str) -> None:
    round_number = json.loads(asked(f"{url}/v1/rounds/latest"))["round"]
    examples: dict[str, Any] = {}
    for operation, _ in ROUTES:
        name = operation.name if operation.answer is None else operation.answer.__name__
        if name not in examples:
            examples[name] = example(url, operation.path, address, round_number)
    EXAMPLES.write_text(json.dumps(examples, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
