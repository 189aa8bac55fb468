//! A client's verified name as a header carries it.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// What a header value had better not contain; the percent sign too, so that the way back is unambiguous.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The subject of a certificate as RFC 4514 writes it, percent-encoded outside visible ASCII; none if the bytes are no
/// certificate.
#[must_use]
pub fn subject(certificate: &[u8]) -> Option<String> {
    let read = Certificate::from_der(certificate).ok()?;
    Some(encode(&read.tbs_certificate.subject.to_string()))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn of(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        subject(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
    }

    #[test]
    fn subjects_read_back_and_carry_nothing_a_header_cannot() {
        let check = |parts: &[(DnType, &str)], wanted: &str| assert_eq!(of(parts), wanted);
        check(&[(DnType::CountryName, "DE"), (DnType::CommonName, "orders")], "CN=orders,C=DE");
        check(&[(DnType::CommonName, "Jörg Müller")], "CN=J%C3%B6rg%20M%C3%BCller");
        check(&[(DnType::CommonName, "a,b+c=\"d\"")], "CN=a\\,b\\+c=\\\"d\\\"");
        check(&[(DnType::CommonName, "100%20")], "CN=100%2520");
        check(&[(DnType::CommonName, "x\r\nX-Admin: 1")], "CN=x\\0d\\0aX-Admin:%201");
        check(&[], "");
        assert_eq!(subject(b"no certificate"), None);
    }
}
