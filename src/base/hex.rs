//! Owns bytes and numbers as hexadecimal digits.

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

/// The 32 lower-case digits of a number. Several of these are made for most requests and one for every probe, so they are looked up.
#[must_use]
pub fn digits(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = PAIRS[usize::from(byte)];
    }
    digits
}

/// Every byte as two digits.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 15]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&all).len(), 512);
        assert_eq!(unhex(&hex(&all)), Some(all));
        assert_eq!((hex(&[0, 10, 255]).as_str(), unhex("000AFf")), ("000aff", Some(vec![0, 10, 255])));
        assert_eq!(digits(0xabc_0010), *b"0000000000000000000000000abc0010");
        assert_eq!(digits(u128::MAX), [b'f'; 32]);
        for bad in ["0", "0g", "+1", "é", " 00"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
