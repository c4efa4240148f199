"""Commands about the model itself: how good it is, and what it is made of."""
