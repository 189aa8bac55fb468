//! Sockets and words passed between two processes on one machine, over a Unix socket.
//!
//! A descriptor can be sent only along with at least one byte, and at most some 250 at a time; who sends more loses them
//! without a word from the system. Words are framed and bounded, for the other process may be of another version.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Descriptors that are sent at a time.
const BATCH: usize = 64;
/// Goes along with descriptors.
const MARK: u8 = b'F';
/// Longest words, in bytes: what is known of many thousands of endpoints.
const MAX_WORDS: u64 = 256 << 20;

/// Sends descriptors.
///
/// # Errors
/// If the other process does not take them.
pub fn send_descriptors(channel: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in descriptors.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        sendmsg(channel, &[IoSlice::new(&[MARK])], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Takes so many descriptors.
///
/// # Errors
/// If others come, or none in time.
pub fn receive_descriptors(channel: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut received = Vec::new();
    while received.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut mark = [0];
        let message = recvmsg(channel, &mut [IoSliceMut::new(&mut mark)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = received.len();
        for rights in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = rights {
                received.extend(descriptors);
            }
        }
        if message.bytes != 1 || mark != [MARK] || received.len() == before || received.len() > count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the descriptors that were announced did not come"));
        }
    }
    Ok(received)
}

/// Sends words.
///
/// # Errors
/// If the other process does not take them.
pub fn send_words(mut channel: &UnixStream, words: &str) -> io::Result<()> {
    channel.write_all(&u64::try_from(words.len()).unwrap_or(u64::MAX).to_be_bytes())?;
    channel.write_all(words.as_bytes())
}

/// Takes words.
///
/// # Errors
/// If none come in time, or they are too long, or no text.
pub fn receive_words(mut channel: &UnixStream) -> io::Result<String> {
    let mut length = [0; 8];
    channel.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    if length > MAX_WORDS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many words"));
    }
    let mut words = String::new();
    if channel.take(length).read_to_string(&mut words)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::net::listen::{ListenSocket, bind_shared};

    #[test]
    fn sockets_and_words_arrive() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sockets: Vec<ListenSocket> = (0..150).map(|_| bind_shared("127.0.0.1:0".parse().unwrap()).unwrap()).collect();
        let sender = std::thread::spawn(move || {
            let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            send_descriptors(&ours, &descriptors).unwrap();
            send_words(&ours, "é".repeat(1 << 20).as_str()).unwrap();
            sockets.iter().map(|socket| socket.address().unwrap()).collect::<Vec<_>>()
        });
        let received = receive_descriptors(&theirs, 150).unwrap();
        assert_eq!(receive_words(&theirs).unwrap().len(), 2 << 20);
        let addresses: Vec<_> =
            received.into_iter().map(|socket| ListenSocket::try_from(socket).unwrap().address().unwrap()).collect();
        assert_eq!(addresses, sender.join().unwrap());
    }

    #[test]
    fn what_was_not_announced_is_refused() {
        let check = |sent: &[u8]| {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(sent).unwrap();
            drop(ours);
            (receive_descriptors(&theirs, 1).is_err(), receive_words(&theirs).is_err())
        };
        assert_eq!(check(b""), (true, true));
        assert_eq!(check(b"F"), (true, true));
        assert_eq!(check(b"F\0\0\0\0\0\0\0\x05abc"), (true, true));
        assert_eq!(check(b"F\xff\0\0\0\0\0\0\x05abc"), (true, true));
        assert_eq!(check(b"F\0\0\0\0\0\0\0\x01\xff"), (true, true));
    }
}
