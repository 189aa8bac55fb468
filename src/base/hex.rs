//! Owns bytes as hexadecimal digits, where how long that takes does not matter.

/// Two lower-case digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("four bits are one digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that such digits stand for, in either case; `None` if they are none, or half a byte.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&all).len(), 512);
        assert_eq!(unhex(&hex(&all)), Some(all));
        assert_eq!((hex(&[0, 10, 255]).as_str(), unhex("000AFf")), ("000aff", Some(vec![0, 10, 255])));
        for bad in ["0", "0g", "+1", "é", " 00"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
