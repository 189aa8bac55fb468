//! Certificates made on the spot, in a folder that ends with the test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

static MADE: AtomicUsize = AtomicUsize::new(0);

/// An authority and what it has signed, as files.
pub(crate) struct Certificates {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// A new authority, whose certificate is `ca.crt`.
    pub(crate) fn new() -> Self {
        let number = MADE.fetch_add(1, SeqCst);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("certificates-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// Signs a certificate for these names, as `NAME.crt` and `NAME.key`; its subject is `subject`.
    pub(crate) fn sign(&self, file: &str, subject: &str, names: &[&str]) {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.authority).unwrap();
        // The key first: whoever looks in between finds a pair that does not fit, as with any renewal.
        std::fs::write(self.folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.folder.join(format!("{file}.crt")), signed.pem()).unwrap();
    }

    /// Where a file is.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
