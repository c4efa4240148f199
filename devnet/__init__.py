"""The devnet: a local chain with the real Aave v3.0, Morpho Blue and Uniswap v3 and seeded users.

From a shell::

    python -m devnet --port 8545 --json        # deployment as JSON, runs until Ctrl-C

From code, blocking or not::

    from devnet.launch import launch, start_devnet
    with launch(progress=print) as devnet: ...             # wall-clock time
    async with start_devnet(port=8545) as devnet: ...
    with launch(genesis_timestamp=FIXED_GENESIS) as devnet: ...   # same hashes every time

    devnet.url                                  # HTTP JSON-RPC
    devnet.deployment                           # every address: devnet.deployment.Deployment
    devnet.deployment.user("edge-ether").address        # recipes: devnet.users
    devnet.call("Pool", devnet.deployment.aave.pool, "getUserAccountData", address)
    devnet.send("PriceFeed", feed, "setAnswer", 1, sender=devnet.deployment.deployer)
    devnet.transact({"from": account, "data": creation_code})["contractAddress"]
    devnet.anvil.snapshot(), .revert(id), .mine(5), .advance_time(3600), .set_balance(a, wei)
    devnet.anvil.make_revert(contract), .reorganise(3), .impersonate(account)

    from devnet.prices import set_prices, crash, read_prices
    set_prices(devnet, {"WETH": 2_500 * 10**8})         # feeds, and pools by real swaps
    crash(devnet, percent=30)

In tests the fixture `chain` (tests/conftest.py) is such a `Devnet`, put back after every test; mark
the tests with `@pytest.mark.chain`. The first start fetches about 30 MB of packages into `.cache/`;
later ones take well under a second, deployment and seeding included, so no chain state is cached.
"""
