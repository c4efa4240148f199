"""Hourly prices of the past, read from candle files and aligned, or simulated; and simulated prices that walk on."""
