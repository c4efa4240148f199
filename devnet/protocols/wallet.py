"""Plain balances: nothing to deploy beyond the tokens."""

from typing import Any

from devnet.deployment import Deployment


def settings_table(deployment: Deployment) -> dict[str, Any]:
    """Return what the settings of the wallet adapter need."""
    return {"tokens": [asset.token for asset in deployment.assets]}
