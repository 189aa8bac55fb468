//! A long stream of bytes that both sides can make, so that neither keeps it: what is read is compared as it comes.

const BLOCK: usize = 1 << 20;

/// The stream, from a position on that moves with what is made or compared.
#[derive(Debug)]
pub(crate) struct Pattern {
    block: Vec<u8>,
    position: u64,
}

impl Pattern {
    /// The stream from its beginning.
    pub(crate) fn new() -> Self {
        let mut block = vec![0; BLOCK];
        fastrand::Rng::with_seed(7).fill(&mut block);
        let mut pattern = Self { block, position: 0 };
        pattern.stamp();
        pattern
    }

    /// How many bytes have been made or compared.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes, at most to the end of a block of 1 MiB.
    pub(crate) fn next(&self) -> &[u8] {
        &self.block[usize::try_from(self.position).unwrap() % BLOCK..]
    }

    /// Moves on, within the block.
    pub(crate) fn advance(&mut self, length: usize) {
        let before = self.number();
        self.position += u64::try_from(length).unwrap();
        if self.number() != before {
            self.stamp();
        }
    }

    /// Whether these are the next bytes.
    pub(crate) fn continues(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let length = bytes.len().min(self.next().len());
            let (now, later) = bytes.split_at(length);
            if self.next()[..length] != *now {
                return false;
            }
            self.advance(length);
            bytes = later;
        }
        true
    }

    fn number(&self) -> u64 {
        self.position / u64::try_from(BLOCK).unwrap()
    }

    /// Each block differs from all others, so that one which is lost or comes twice is noticed.
    fn stamp(&mut self) {
        let number = self.number();
        self.block[..8].copy_from_slice(&number.to_be_bytes());
    }
}

#[test]
fn the_stream_is_recognised_and_its_blocks_differ() {
    let mut first = Pattern::new();
    let start = first.next().to_vec();
    first.advance(BLOCK);
    assert_ne!(first.next(), start);
    assert!(Pattern::new().continues(&start));
    assert!(!Pattern::new().continues(first.next()));
    let mut whole = start.clone();
    whole.extend_from_slice(first.next());
    let mut pieces = Pattern::new();
    assert!(whole.chunks(7777).all(|piece| pieces.continues(piece)));
    assert_eq!(pieces.position(), 2 << 20);
}
