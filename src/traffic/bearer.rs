//! The token that a request carries (RFC 6750, section 2.1), whoever it is meant for.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The token of a request, if it carries one. With two of them it carries none: whoever passed it on may have read the other one.
#[must_use]
pub fn given(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    of(value.as_bytes())
}

/// The token in the value of the one `Authorization` header.
#[must_use]
pub fn of(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_follows_its_scheme() {
        let read = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            headers.extend(values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_bytes(value).unwrap())));
            given(&headers).map(<[u8]>::to_vec)
        };
        for (values, token) in [
            (&[b"Bearer s3cret".as_slice()] as &[&[u8]], Some(b"s3cret".as_slice())),
            (&[b"bEARER s3cret"], Some(b"s3cret")),
            (&[b"Bearer   s3cret "], Some(b"s3cret")),
            (&[b"Bearer s3 cret"], Some(b"s3 cret")),
            (&[b"Bearer \xff"], Some(b"\xff")),
            (&[b"Bearer "], Some(b"")),
            (&[b"Bearer"], None),
            (&[b"Basic s3cret"], None),
            (&[b"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"], None),
            (&[b""], None),
            (&[], None),
            (&[b"Bearer s3cret", b"Bearer s3cret"], None),
        ] {
            assert_eq!(read(values).as_deref(), token, "{values:?}");
        }
    }
}
