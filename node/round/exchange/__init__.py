"""What operators ask each other, and how it is answered: what was missed, and why two reports differ."""
