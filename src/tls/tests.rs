//! Identities made on the spot, and what is wrong with wrong ones.

use rcgen::{CertificateParams, KeyPair};

use super::{Application, Identity, Part, PemError, Renewable, Terms, TermsError, Trust, authorities};

/// A certificate for these names, and its key, in PEM.
fn pem(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

pub(super) fn identity(names: &[&str]) -> Identity {
    let (cert, key) = pem(names);
    Identity::parse(&cert, &key).unwrap()
}

#[test]
fn a_key_fits_its_certificate_or_is_refused() {
    let (cert, key) = pem(&["a.test"]);
    let (_, other) = pem(&["a.test"]);
    let check = |cert: &str, key: &str, part: Part, wanted: PemError| {
        assert_eq!(Identity::parse(cert, key).unwrap_err(), (part, wanted));
    };
    assert_eq!(Identity::parse(&cert, &key).unwrap().names(), ["a.test"]);
    check(&cert, &other, Part::Key, PemError::OtherKey);
    check(&cert, &cert, Part::Key, PemError::NoKey);
    check(&cert, "", Part::Key, PemError::NoKey);
    check("", &key, Part::Cert, PemError::NoCertificate);
    check(&key, &key, Part::Cert, PemError::NoCertificate);
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(junk, &key, Part::Cert, PemError::Malformed);
    assert_eq!(authorities("-----BEGIN CERTIFICATE-----\n!\n"), Err(PemError::NoCertificate));
}

#[test]
fn what_processors_are_quickest_at_is_preferred_in_both_versions() {
    let names: Vec<_> = super::provider().cipher_suites.iter().map(|suite| suite.suite().as_str().unwrap()).collect();
    assert_eq!(names.len(), rustls::crypto::aws_lc_rs::default_provider().cipher_suites.len());
    for version in ["TLS13_AES", "TLS_ECDHE_ECDSA", "TLS_ECDHE_RSA"] {
        let first = names.iter().find(|name| name.starts_with(version)).unwrap();
        assert!(first.contains("AES_128_GCM"), "{names:?}");
    }
}

#[test]
fn tickets_outlive_certificates_and_not_trust() {
    let clients = |required| Some(Trust { authorities: authorities(&pem(&["ca.test"]).0).unwrap(), required });
    let terms = |clients| Terms { identities: vec![identity(&["a.test"])], clients, application: Application::Any };
    let first = terms(None);
    let renewable = Renewable::new(first.clone()).unwrap();
    let tickets = |renewable: &Renewable| std::sync::Arc::as_ptr(&renewable.config().ticketer).cast::<()>();
    let before = tickets(&renewable);
    assert!(renewable.renew_if(&first, terms(None)).unwrap());
    assert_eq!(tickets(&renewable), before);
    assert!(!renewable.renew_if(&first, terms(None)).unwrap(), "they are other terms by now");
    renewable.renew(terms(clients(true))).unwrap();
    assert_ne!(tickets(&renewable), before);
    let broken = Some(Trust { authorities: Vec::new(), required: true });
    assert_eq!(renewable.renew(terms(broken)), Err(TermsError::Authorities));
}
