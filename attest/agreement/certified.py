"""The reports a node can build on: certificates it verified, and the states of the last few reports."""

from collections.abc import Iterator

from attest.agreement.proposals import reference_of
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate, encode_certificate
from attest.formats.header import ReportHeader, report_hash
from attest.wire.messages import ReportReference

KEPT_REPORTS = 8


class CertifiedReports:
    """Grows by certificates and states, never beyond `KEPT_REPORTS` of either; the store has the rest.

    The states of reports that this node computed are kept before they are certified: somebody may hold the certificate,
    and show it late.
    """

    def __init__(self, state: AgreedState, certificate: Certificate | None) -> None:
        self.highest = reference_of(certificate)
        """The certified report of the highest round; its state may still be missing."""
        self._certificates = {self.highest: certificate}
        self._states = {self.highest: state}

    @property
    def highest_certificate(self) -> bytes:
        """Canonical bytes; none: the genesis."""
        certificate = self._certificates[self.highest]
        return b"" if certificate is None else encode_certificate(certificate)

    @property
    def is_behind(self) -> bool:
        """Whether the state after the highest certified report is missing."""
        return self.highest not in self._states

    def __contains__(self, reference: object) -> bool:
        """Say whether a verified certificate of a report is held."""
        return reference in self._certificates

    def __iter__(self) -> Iterator[ReportReference]:
        """Yield the reports of which certificates are held."""
        return iter(self._certificates)

    def is_settled(self, round_number: int) -> bool:
        """Say whether nothing is to be gained from computing a round: it, or a later one, is certified and known."""
        return round_number < self.highest.round or (round_number == self.highest.round and not self.is_behind)

    def certificate_of(self, reference: ReportReference) -> Certificate | None:
        """Return the certificate of a report; None: not held, or the genesis."""
        return self._certificates.get(reference)

    def state_after(self, reference: ReportReference) -> AgreedState | None:
        """Return the state after a report, where it is kept."""
        return self._states.get(reference)

    def add_certificate(self, certificate: Certificate) -> bool:
        """Take note of a verified certificate; say whether its round is higher than all before."""
        reference = reference_of(certificate)
        self._certificates.setdefault(reference, certificate)
        higher = reference.round > self.highest.round
        if higher:
            self.highest = reference
        self._forget(self._certificates)
        return higher

    def add_report(self, header: ReportHeader, state: AgreedState) -> ReportReference:
        """Keep the state of a report that was computed here, or checked against its certificate."""
        reference = ReportReference(round=header.round, report_hash=report_hash(header))
        self._states[reference] = state
        self._forget(self._states)
        return reference

    def _forget(self, kept: dict[ReportReference, AgreedState] | dict[ReportReference, Certificate | None]) -> None:
        """Drop the lowest rounds beyond the bound, never the report that is built on next."""
        while len(kept) > KEPT_REPORTS:
            del kept[min(reference for reference in kept if reference != self.highest)]
