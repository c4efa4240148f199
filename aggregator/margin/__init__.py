"""What a portfolio must hold: the base requirement, offsets between silos, add-ons for size, and the explanation."""
