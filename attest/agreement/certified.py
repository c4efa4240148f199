"""The certified reports a node knows: the highest verified certificate, and the states of the last few."""

from attest.agreement.messages import ReportReference
from attest.agreement.proposals import reference_of
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate, encode_certificate

KEPT_STATES = 4


class CertifiedReports:
    """Grows by certificates and states, never beyond `KEPT_STATES` states."""

    def __init__(self, state: AgreedState, certificate: Certificate | None) -> None:
        self._states = {reference_of(certificate): state}
        self.highest = reference_of(certificate)
        """The certified report of the highest round; its state may still be missing."""
        self.highest_certificate = b"" if certificate is None else encode_certificate(certificate)

    @property
    def is_behind(self) -> bool:
        """Whether the state after the highest certified report is missing."""
        return self.highest not in self._states

    def is_settled(self, round_number: int) -> bool:
        """Say whether nothing is to be gained from computing a round: it, or a later one, is certified and known."""
        return round_number < self.highest.round or (round_number == self.highest.round and not self.is_behind)

    def state_after(self, reference: ReportReference) -> AgreedState | None:
        """Return the state after a certified report, where it is known."""
        return self._states.get(reference)

    def add_certificate(self, certificate: Certificate) -> None:
        """Take note of a verified certificate."""
        reference = reference_of(certificate)
        if reference.round > self.highest.round:
            self.highest = reference
            self.highest_certificate = encode_certificate(certificate)

    def add_state(self, reference: ReportReference, state: AgreedState) -> None:
        """Keep the state after a certified report, and forget the oldest beyond the bound."""
        self._states[reference] = state
        while len(self._states) > KEPT_STATES:
            del self._states[min(self._states)]
