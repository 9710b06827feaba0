from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ringback.launch.certificates import LIFETIME, Chain, make_chain, read_certificates

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def chain() -> Chain:
    return make_chain(NOW)


def test_both_levels_are_critically_constrained_to_twilio_and_to_no_address(chain: Chain) -> None:
    for certificate in (chain.root, chain.intermediate):
        extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
        assert extension.critical
        assert [name.value for name in extension.value.permitted_subtrees] == ["twilio.com"]
        assert {str(name.value) for name in extension.value.excluded_subtrees} == {"0.0.0.0/0", "::/0"}


@pytest.mark.parametrize("level, path_length", [("root", 1), ("intermediate", 0)])
def test_path_lengths(chain: Chain, level: str, path_length: int) -> None:
    extension = getattr(chain, level).extensions.get_extension_for_class(x509.BasicConstraints)
    assert extension.critical
    assert extension.value.ca
    assert extension.value.path_length == path_length


def test_it_lives_397_days_at_most_and_starts_before_now(chain: Chain) -> None:
    for certificate in (chain.root, chain.intermediate):
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime == LIFETIME <= timedelta(days=397)
        assert certificate.not_valid_before_utc < NOW


def test_two_generations_have_different_names(chain: Chain) -> None:
    assert make_chain(NOW).root.subject != chain.root.subject


def test_only_the_intermediates_key_is_written(chain: Chain) -> None:
    text = chain.for_mitmproxy()
    assert text.count(b"PRIVATE KEY-----") == 2  # one begin, one end
    key = serialization.load_pem_private_key(text, None)
    assert key.public_key() == chain.intermediate.public_key()
    assert key.public_key() != chain.root.public_key()


def test_what_was_written_is_read_back(chain: Chain) -> None:
    assert read_certificates(chain.for_mitmproxy()) == (chain.intermediate, chain.root)


def test_a_ca_without_limits_is_not_taken() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything goes")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + LIFETIME)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) * 2 + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match=r"not limited to twilio\.com"):
        read_certificates(pem)


def test_another_key_is_not_taken(chain: Chain) -> None:
    other = make_chain(NOW).for_mitmproxy()
    key, separator, _ = other.partition(b"-----BEGIN CERTIFICATE")
    _, _, certificates = chain.for_mitmproxy().partition(separator)
    with pytest.raises(ValueError, match="not its certificate's"):
        read_certificates(key + separator + certificates)


def test_half_a_file_is_not_taken(chain: Chain) -> None:
    text = chain.for_mitmproxy()
    with pytest.raises(ValueError, match=r"."):
        read_certificates(text[: len(text) // 2])
