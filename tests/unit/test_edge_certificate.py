"""The edge's certificate: made once, renewed in time, and nobody else's replaced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from localfaas.edge import certificate
from localfaas.edge.certificate import CertificateError, ensure_certificate


def present(secrets: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((secrets / certificate.FILE).read_bytes())


def test_it_is_made_for_this_machines_names_and_its_owners_eyes(tmp_path: Path) -> None:
    assert ensure_certificate(tmp_path / "secrets") is True
    made = present(tmp_path / "secrets")
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert (tmp_path / "secrets" / certificate.FILE).stat().st_mode & 0o777 == 0o600


def test_it_is_kept_until_a_month_before_its_end(tmp_path: Path) -> None:
    ensure_certificate(tmp_path)
    made = present(tmp_path)
    end = made.not_valid_after_utc
    assert ensure_certificate(tmp_path, end - timedelta(days=31)) is False
    assert ensure_certificate(tmp_path, end - timedelta(days=29)) is True
    assert present(tmp_path).not_valid_after_utc > end


def test_somebody_elses_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "ISSUER", "another authority")
    ensure_certificate(tmp_path)
    monkeypatch.undo()
    assert ensure_certificate(tmp_path, datetime.now(UTC) + timedelta(days=9999)) is False


@pytest.mark.parametrize("half", ["", "PRIVATE KEY", "CERTIFICATE"])
def test_a_file_that_is_no_pair_is_named(tmp_path: Path, half: str) -> None:
    ensure_certificate(tmp_path)
    path = tmp_path / certificate.FILE
    blocks = path.read_text().split("-----BEGIN ")[1:]
    path.write_text("".join("-----BEGIN " + block for block in blocks if half and block.startswith(half)))
    with pytest.raises(CertificateError, match=str(path)):
        ensure_certificate(tmp_path)
