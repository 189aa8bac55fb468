//! Tests of conversations over a stream that says what a test has written down.

mod agreement;
mod bodies;
mod replies;
mod requests;
mod script;
