"""Every reason for a refusal, a lowered coverage or an abstention: one code for errors, metrics and documentation."""

from __future__ import annotations

import msgspec

from riskschema.flags import Flag


class Reason(msgspec.Struct, frozen=True):
    """A code, a short phrase for tables, and a sentence that says what to do."""

    code: str
    short: str
    long: str


_ALL = (
    # input
    Reason("invalid_address", "not an address", "Give 0x followed by 40 hexadecimal digits."),
    Reason(
        "invalid_document",
        "document refused",
        "Correct the field named in the message; the schemas are in docs/schema.",
    ),
    Reason(
        "document_too_large",
        "document too large",
        "Split the document; the limit is in the message.",
    ),
    Reason("invalid_settings", "settings refused", "Correct the key named in the message."),
    Reason("field_out_of_range", "value out of range", "The value named in the message does not fit its type."),
    Reason("file_unreadable", "file cannot be read", "Check the path and its permissions."),
    # facts at the pinned block: they lower the coverage
    Reason(
        "call_reverted",
        "contract reverts",
        "The contract refuses the read at the pinned block; all nodes see the same.",
    ),
    Reason("no_code", "no contract", "There is no code at the configured address at the pinned block."),
    Reason(
        "answer_malformed",
        "answer malformed",
        "The contract's answer does not decode as its ABI says.",
    ),
    Reason(
        "too_many_positions",
        "too many positions",
        "The account holds more positions than the committee's cap.",
    ),
    Reason("rule_not_implemented", "rule unknown", "No venue rule of that name exists in this version."),
    Reason(
        "factor_unknown",
        "no price",
        "No market source quotes the factor; map the token in the settings.",
    ),
    Reason("chain_out", "chain out of the round", "The round agreed on no recent block of the chain."),
    # local failures: the node abstains
    Reason(
        "endpoint_unreachable",
        "endpoint unreachable",
        "Check the URL and that the endpoint is up; the node retries.",
    ),
    Reason(
        "endpoint_malformed",
        "endpoint answers nonsense",
        "Replace the endpoint; its answer is no valid JSON-RPC.",
    ),
    Reason(
        "endpoint_refused",
        "endpoint refuses",
        "The endpoint returned an error; the message carries it.",
    ),
    Reason("block_unknown", "block unknown", "The endpoint lags, or the block was reorganised away."),
    Reason(
        "wrong_chain",
        "wrong chain",
        "The endpoint serves another chain id or genesis than configured.",
    ),
    Reason("history_pruned", "history pruned", "The endpoint does not keep so old a block; ask one that does."),
    Reason(
        "endpoints_disagree",
        "endpoints disagree",
        "Endpoints contradict each other, or too few are left; the message names them: replace the one that is wrong.",
    ),
    Reason(
        "answers_contradict",
        "answers contradict",
        "One endpoint's answers cannot all be true; the message says which. With further endpoints the liar is named.",
    ),
    Reason(
        "gas_capped",
        "gas of calls capped",
        "The endpoint runs calls with less gas than asked for: raise its cap (geth: --rpc.gascap), or replace it.",
    ),
    Reason(
        "call_budget_spent",
        "calls of the day spent",
        "The endpoint's calls_per_day are used up: raise it, add an endpoint, or lengthen the interval.",
    ),
    Reason(
        "clock_wrong",
        "clock is wrong",
        "Set this machine's clock (timedatectl set-ntp true); if it is right, the chain or its endpoint stands still.",
    ),
    Reason("deadline", "out of time", "The step did not finish before the round's deadline."),
    Reason(
        "market_unavailable",
        "no market data",
        "No market source has a usable value; the message says of which factors, and why.",
    ),
    # flags of an assessment
    Reason(
        Flag.HISTORY_SIMULATED,
        "simulated history",
        "Part of the price history was made by the simulator.",
    ),
    Reason(
        Flag.HISTORY_SHORT,
        "short history",
        "A factor has less than a year of hours; its group's leader and noise of its own stand in.",
    ),
    Reason(Flag.HISTORY_FILLED, "filled hours", "Missing hours were filled by the stated rule."),
    Reason(Flag.QUOTE_STALE, "stale quote", "A factor kept its value from the parent round."),
    Reason(
        Flag.VENUE_UNREAD,
        "venue unread",
        "Part of the portfolio could not be read; the result is a lower bound of risk.",
    ),
    Reason(
        Flag.SATURATED,
        "values cut",
        "In some scenario an instrument is worth more than the arrays can hold; the loss or gain there is larger. Where"
        " a loss is cut, the grade is C at best.",
    ),
    Reason(Flag.UNPRICED, "unpriced position", "A position has no price and is left out of every sum."),
    # agreement
    Reason("forged", "forged", "A signature or proof does not verify."),
    Reason("foreign", "foreign", "The message belongs to another network or configuration."),
    Reason("stale", "stale", "The message belongs to a round that is over."),
    Reason(
        "parent_unknown",
        "parent unknown",
        "A report is certified whose state this node does not hold; restore the database, or wait for a peer's.",
    ),
    Reason("quorum_missing", "too few signatures", "Fewer operators signed than the quorum asks."),
    Reason(
        "broker_unreachable",
        "broker not reached",
        "Check the broker and what [network] says of it; rounds go on by the others, and it is tried again.",
    ),
    Reason(
        "parent_old",
        "parent too old",
        "The report builds on an older one than the last that this key signed; the next leader has the newer one.",
    ),
    Reason("ignored", "peer ignored", "An operator sent several invalid messages in a round; the rest went unread."),
    Reason("malformed", "malformed", "The bytes do not decode as the format says."),
    Reason(
        "leader_silent", "leader silent", "The round's leader sent no proposal in time; the next round has the next."
    ),
    Reason(
        "outvoted", "outvoted", "A quorum signed another report; compare the rows, the adapters and the parameters."
    ),
    Reason(
        "guard_unreadable",
        "guard cannot be opened",
        "The file is damaged, of another key, or of another release; the message says what to do.",
    ),
    Reason(
        "guard_put_back",
        "guard is an old copy",
        "Stop every other machine with this key, check the clock, then run plimsoll keys renew-guard.",
    ),
    Reason(
        "guard_unwritable",
        "guard cannot be written",
        "Make room on the disk, or check owner, mode and mount; nothing is signed before the record is on disk.",
    ),
    Reason(
        "guard_ahead",
        "guard is ahead of time",
        "A wrong clock marked rounds of the future; docs/operating.md, The clock, has the two ways out.",
    ),
    Reason(
        "key_in_use",
        "key in use elsewhere",
        "Another machine started or speaks with this key: stop that one, then start again here.",
    ),
    Reason("guard_locked", "guard locked", "Another process signs with this key; stop it first."),
    Reason(
        "guard_refuses",
        "guard refuses",
        "The key already signed something else for this round or a later one.",
    ),
    Reason("key_unreadable", "key cannot be opened", "Check the keystore file and the password file."),
    Reason("devnet", "local chain failed", "The message names the part of the local chain that failed and what to do."),
    # publishing and storage
    Reason(
        "publish_refused",
        "contract refuses",
        "The destination contract rejected the report; the message has its reason.",
    ),
    Reason(
        "publish_late",
        "not landed yet",
        "The transaction did not land before the deadline; it is followed up.",
    ),
    Reason(
        "budget_spent",
        "budget of the day spent",
        "Publishing pauses, rounds go on: see what the endpoint asks for gas, or raise publish.daily_budget_gwei.",
    ),
    Reason(
        "transmitter_unfunded",
        "account cannot pay",
        "Send the transmitter account some of the chain's coin; rounds go on, and publishing goes on by itself.",
    ),
    Reason("store_conflict", "two reports", "The database holds another report of the same round."),
    Reason(
        "store_failed",
        "database failed",
        "The disk is full or failing, or another process holds the database; the node retries.",
    ),
    Reason(
        "store_unusable",
        "database unusable",
        "The database cannot be opened or is of another version.",
    ),
    Reason(
        "index_unusable",
        "index unusable",
        "The file is damaged or another's: move it away, and plimsoll index backfill makes it anew from the chain.",
    ),
    Reason(
        "index_behind",
        "index behind",
        "The index of a venue has not come to the pinned block; it is caught up meanwhile (plimsoll index status).",
    ),
    Reason(
        "holders_incomplete",
        "holders missing",
        "The holders that the logs name do not sum to the contract's total: an endpoint keeps logs back, or "
        "start_block is after the first of them. The node reads them again by itself; the message says how far it is.",
    ),
    Reason(
        "holders_shrank",
        "too few accounts",
        "Far fewer accounts than in the round before: look for the cause. No setting lets it pass; max_shrink_ppm is "
        "the same for all operators.",
    ),
    Reason(
        "holders_unproved",
        "completeness unproved",
        "The contract tells no total of the holders in a book, so nobody can prove that none is missing.",
    ),
    Reason(
        "store_not_ready",
        "database not ready",
        "The node that writes the database has not made it, or not brought it to this version yet: start plimsoll run.",
    ),
    Reason("compiler_missing", "no Solidity compiler", "Install Node.js with npm; it is needed to compile contracts."),
    # readiness
    Reason("round_missing", "no certified round yet", "Wait for the first round; the log names what holds it up."),
    Reason("round_overdue", "no recent round", "No round was certified lately; the log names what holds it up."),
    Reason("signer_silent", "rounds unknown", "The process that runs the rounds does not answer the one that serves."),
    Reason("serving_stopped", "API stopped", "The process that serves the HTTP API ended; it is started again."),
    # requests to the HTTP API
    Reason(
        "account_unknown",
        "account unknown",
        "Accounts are those that events of the committee's venues name (/v1/venues); tokens in a wallet make none. "
        "Ask again in the round after a first deposit there, or read any address with `plimsoll positions`.",
    ),
    Reason("not_kept", "not kept", "The round was stored without it by an earlier version; newer rounds have it."),
    Reason("round_unknown", "round unknown", "This node keeps no certified report of that round."),
    Reason("route_unknown", "no such page", "The routes are listed in /openapi.json."),
    Reason("method_refused", "method refused", "The API is read only: use GET, HEAD or OPTIONS."),
    Reason("request_malformed", "request refused", "Correct the part of the request named in the answer."),
    Reason("request_too_large", "request too large", "Shorten the request; the API takes no bodies."),
    Reason("too_many_requests", "asked too often", "Wait a second; the answers of a round do not change."),
    Reason("overloaded", "too busy", "The node answers as many requests as it can; try again in a moment."),
    Reason("internal", "internal error", "The node's log has the details; report it if it happens again."),
)

REASONS: dict[str, Reason] = {reason.code: reason for reason in _ALL}
