"""What operators send each other: kinds of messages, their canonical bytes, and the envelope that says who speaks."""
