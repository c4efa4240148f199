"""The start of a key whose guard may have forgotten what it signed: two slots of listening, as a pure state machine.

It sends nothing but its presence. It ends where the key turns out to be in use elsewhere, and goes on beyond its two
slots while this machine's clock is not that of its peers. Nothing is written before it is over, so that a wrong clock
marks no round of the future. A whole committee that starts so hears the presences of all and waits for nobody.
"""

from collections.abc import Callable

from attest.agreement.rules import AgreementRules
from attest.formats.committee import round_at
from attest.wire.envelope import Envelope, check_scope, check_signature, open_body, read_envelope, seal
from attest.wire.messages import ROUND_KINDS, MessageKind, Observation, Presence
from riskschema.errors import FatalError, TransientError

SLOTS = 2
"""Whoever signs with the key elsewhere says something in the whole slot between."""
LAST_ROUND = 2**64 - 1


class Listening:
    """One start of one key."""

    def __init__(
        self, rules: AgreementRules, *, me: int, sign: Callable[[bytes], bytes], boot_number: int, now_ms: int
    ) -> None:
        """Begin to listen.

        Args:
            rules: The committee's.
            me: This operator's index.
            sign: The identity's signature over 32 bytes.
            boot_number: Random, 64 bits, drawn for this start.
            now_ms: Unix milliseconds; not before the genesis.
        """
        self._rules = rules
        self._me = me
        self._sign = sign
        self._boot_number = boot_number
        self._began_ms = now_ms
        self._said = 0
        self._clocks: dict[int, tuple[int, int]] = {}
        """Per peer its newest clock, and how far that is ahead of this machine's when it came."""
        self.began = round_at(rules.committee, now_ms // 1_000)
        """The slot in which it began: `Guard.enter` rules out this one and the next."""

    def next_wake(self) -> int:
        """Return the Unix milliseconds at which a tick has something to do."""
        return self._said + self._rules.interval_ms // 2

    def on_tick(self, now_ms: int) -> tuple[bytes, ...]:
        """Return what to send: a presence, now and every half slot."""
        if now_ms < self.next_wake():
            return ()
        self._said = now_ms
        presence = Presence(boot_number=self._boot_number, clock_ms=now_ms)
        slot = round_at(self._rules.committee, now_ms // 1_000)
        digest = self._rules.config_digest
        return (seal(presence, config_digest=digest, round_number=slot, sender=self._me, sign=self._sign),)

    def on_message(self, payload: bytes, now_ms: int) -> None:
        """Hear a peer, or the own key elsewhere.

        Raises:
            FatalError: (``key_in_use``) somebody else started with the key, or speaks with it.
            ProtocolViolation: malformed, foreign or forged.
        """
        envelope = read_envelope(payload)
        check_scope(envelope, self._rules, first_round=0, last_round=LAST_ROUND)
        if envelope.sender != self._me and envelope.kind not in (MessageKind.OBSERVATION, MessageKind.PRESENCE):
            return
        check_signature(envelope, self._rules)
        if envelope.sender == self._me:
            self._hear_own(envelope, now_ms)
            return
        body = open_body(envelope)
        if isinstance(body, Observation | Presence):
            newest = self._clocks.get(envelope.sender, (-1, 0))
            self._clocks[envelope.sender] = max(
                newest, (body.clock_ms, body.clock_ms - now_ms), key=lambda each: each[0]
            )

    def is_over(self, now_ms: int) -> bool:
        """Say whether the key may be taken up.

        Raises:
            TransientError: (``clock_wrong``) f + 1 peers or more were heard, and fewer than f + 1 of them have this
                machine's clock, within a quarter of a slot: listen on. Whoever hears fewer compares its clock with the
                newest block only.
        """
        if now_ms < self._rules.slot_start_ms(self.began + SLOTS):
            return False
        offsets = sorted(offset for _, offset in self._clocks.values())
        near = [offset for offset in offsets if abs(offset) <= self._rules.interval_ms // 4]
        if len(offsets) >= self._rules.one_honest > len(near):
            middle = offsets[len(offsets) // 2]
            raise TransientError(
                f"the clocks of {len(offsets)} peers are {middle / 1_000:+.1f} s from this machine's: set the clock",
                code="clock_wrong",
            )
        return True

    def _hear_own(self, envelope: Envelope, now_ms: int) -> None:
        body = open_body(envelope)
        if isinstance(body, Presence):
            # brokers keep the last presence of a start that crashed: who lives speaks again, every half slot
            lately = self._began_ms <= body.clock_ms and abs(body.clock_ms - now_ms) <= self._window
            elsewhere = body.boot_number != self._boot_number and lately
        else:
            elsewhere = envelope.kind in ROUND_KINDS and envelope.round > self.began
        if elsewhere:
            raise FatalError(
                f"the key of operator {self._me} is in use on another machine: stop that one, then start again here "
                f"{self._window // 1_000} s later",
                code="key_in_use",
            )

    @property
    def _window(self) -> int:
        """How far a presence may be from this machine's clock: replayed ones say nothing."""
        return SLOTS * self._rules.interval_ms
