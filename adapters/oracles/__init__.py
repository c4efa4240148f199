"""What a venue's oracle follows, as the contracts behind it tell; what they do not tell stays unknown."""
