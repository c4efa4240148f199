"""Who knows which certificate: what must be passed on again, and whom to ask for what is not known here."""

from attest.agreement.effects import CertificateNeeded
from attest.agreement.rules import AgreementRules
from attest.wire.messages import ReportReference


class Spreading:
    """Remembers one number per operator, and whom this node asked in the current slot."""

    def __init__(self, rules: AgreementRules, me: int) -> None:
        self._rules = rules
        self._me = me
        self._named: dict[int, int] = {}
        """The highest certified round that each operator named."""
        self._asked: set[int] = set()

    def begin_slot(self) -> None:
        """Let every operator be asked once more."""
        self._asked.clear()

    def is_spread(self, highest: ReportReference) -> bool:
        """Say whether n - f operators, this one among them, name a certificate or a higher one."""
        others = sum(named >= highest.round for operator, named in self._named.items() if operator != self._me)
        return highest.round == 0 or others + 1 >= self._rules.answering

    def hear(
        self, operator: int, named: ReportReference, *, highest: ReportReference, current: int
    ) -> tuple[CertificateNeeded, ...]:
        """Note what an operator names; ask it for a certificate that is not known here, once a slot.

        Args:
            operator: Who named it, in a signed observation.
            named: The certificate.
            highest: The highest that this node verified.
            current: The slot of now; no round that has not begun is certified.
        """
        if named.round > current:
            return ()
        self._named[operator] = max(named.round, self._named.get(operator, 0))
        if operator == self._me or operator in self._asked or named.round <= highest.round:
            return ()
        self._asked.add(operator)
        return (CertificateNeeded(reference=named, peer=operator),)
