//! Certificates, keys and trust: read from PEM, checked against each other, and made into what TLS needs on either side.
//!
//! A key that does not fit its certificate, or a file without a certificate in it, must be found when a configuration is
//! read and not when the first client comes. So everything here is checked when it is made and is then valid for good.
//! Nothing here reads files or sockets; the provider of cryptography is named in one place and handed to every builder.
//!
//! | file | owns |
//! |---|---|
//! | `pem` | certificates and keys in a text |
//! | `identity` | a certificate chain with its key |
//! | `names` | which identity answers for a name |
//! | `listed` | certificates that are believed as they are |
//! | `terms` | how a listener terminates TLS, and what outlives its renewal |
//! | `towards` | what is asked of endpoints, and who we say we are |
//! | `subject` | a client's verified name as a header carries it |

mod identity;
mod listed;
mod names;
mod pem;
mod subject;
mod terms;
mod towards;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use identity::{Identity, Part};
pub use pem::{PemError, authorities};
pub use subject::subject;
pub use terms::{Application, Renewable, Terms, TermsError, Trust};
pub use towards::{Towards, TowardsTerms};

/// The cryptography that every side of every connection uses.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // 128 bits are no weaker in practice, and hash by what processors have instructions for: Mozilla's order as well.
    provider.cipher_suites.sort_by_key(|suite| !suite.suite().as_str().is_some_and(|name| name.contains("AES_128")));
    Arc::new(provider)
}

/// The versions we speak: older ones are broken.
static VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[cfg(test)]
mod tests;
