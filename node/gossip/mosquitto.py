"""The configuration of a Mosquitto broker for a committee: mutual TLS 1.3, each operator writing below its own name.

Mosquitto takes the name from the certificate, as user and as client id, so that no operator can act as another or end
another's session. SIGHUP does not read the certificates again: a changed committee needs a restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from attest.formats.committee import Committee
from attest.keys.certificates import broker_certificate, check_operator_certificate
from node.gossip.topics import ROOT, network_name
from node.gossip.transport import DIRECTED, LARGEST_PAYLOAD_BYTES, Channel
from riskschema.errors import InvalidData

CONFIGURATION = "mosquitto.conf"
OPERATORS = "operators.pem"
ACCESS = "access.acl"
CERTIFICATE = "broker.pem"
"""What nodes trust: give it to every operator."""
KEY = "broker.key"

PACKET_BYTES = LARGEST_PAYLOAD_BYTES + 1_024
QUEUED_MESSAGES = 256
QUEUED_BYTES = 64 * 1024 * 1024
"""For one subscriber that does not read."""
CONNECTIONS_PER_OPERATOR = 3
SPARE_CONNECTIONS = 16


def mosquitto_files(
    committee: Committee,
    certificates: Sequence[bytes],
    *,
    directory: str,
    listen: str,
    port: int,
    hosts: Sequence[str],
) -> dict[str, bytes]:
    """Return the files of a broker by name; its key is made anew.

    Args:
        committee: Whose operators may connect.
        certificates: Theirs (PEM), in the committee's order.
        directory: Where the files will lie, as Mosquitto sees it.
        listen: Address to listen on.
        port: Port to listen on.
        hosts: Names and addresses under which nodes reach it.

    Raises:
        InvalidData: a certificate is missing or is not the operator's.
    """
    if len(certificates) != len(committee.operators):
        raise InvalidData(
            f"{len(certificates)} certificates for {len(committee.operators)} operators", code="invalid_settings"
        )
    for operator, certificate in zip(committee.operators, certificates, strict=True):
        check_operator_certificate(certificate, operator.identity)
    key, own = broker_certificate(hosts)
    connections = CONNECTIONS_PER_OPERATOR * len(certificates) + SPARE_CONNECTIONS
    return {
        CONFIGURATION: _configuration(directory, listen, port, connections).encode(),
        ACCESS: _access_list(network_name(committee)).encode(),
        OPERATORS: b"".join(certificates),
        CERTIFICATE: own,
        KEY: key,
    }


def _configuration(directory: str, listen: str, port: int, connections: int) -> str:
    return f"""\
# Written by `plimsoll broker configure`. SIGHUP does not read certificates again: restart after a change.
per_listener_settings false
listener {port} {listen}
protocol mqtt
max_connections {connections}
allow_anonymous false
# who connects is who the certificate names, as user and as client id
cafile {directory}/{OPERATORS}
certfile {directory}/{CERTIFICATE}
keyfile {directory}/{KEY}
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
use_username_as_clientid true
acl_file {directory}/{ACCESS}
max_packet_size {PACKET_BYTES}
max_queued_messages {QUEUED_MESSAGES}
max_queued_bytes {QUEUED_BYTES}
max_keepalive 60
set_tcp_nodelay true
# nodes repeat what matters; what a broker keeps it may forget
persistence false
log_dest stderr
log_type error
log_type warning
connection_messages false
"""


def _access_list(network: str) -> str:
    prefix = f"{ROOT}/{network}"
    hearing = [f"{prefix}/+/{channel}/%u" if channel in DIRECTED else f"{prefix}/+/{channel}" for channel in Channel]
    writing = [f"{prefix}/%u/{channel}/+" if channel in DIRECTED else f"{prefix}/%u/{channel}" for channel in Channel]
    return "\n".join(
        [*(f"pattern read {each}" for each in hearing), *(f"pattern write {each}" for each in writing), ""]
    )
