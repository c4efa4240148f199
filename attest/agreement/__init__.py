"""The round as a pure state machine: observations, proposals and shares in; outcome, state and certificate out."""
