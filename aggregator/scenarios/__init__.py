"""How the market may move: volatility and correlation, blocks of history, and the columns made of them."""
