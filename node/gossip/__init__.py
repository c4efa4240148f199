"""How nodes hear each other: by several brokers, each treated as hostile; or in memory, within one process."""
