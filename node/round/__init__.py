"""One round after the other: the steps in order (`round`), what each does, and the service that enters each slot."""
