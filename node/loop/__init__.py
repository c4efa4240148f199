"""The loop around the rounds: it alone feeds the round machine, and does what the machine asks for."""
