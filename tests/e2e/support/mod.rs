//! What the tests stand on: processes, services, the program under test, clients, load and patience.
//!
//! | file | owns |
//! |---|---|
//! | `patience` | waiting for something that another process must do |
//! | `folder`, `port` | what a process needs for itself |
//! | `process` | a program that runs until it is dropped, and the signals it is sent |
//! | `service` | real services of three makes |
//! | `misbehaving` | endpoints that do what no real service can be made to do |
//! | `proxy` | the program under test and its command line |
//! | `client` | HTTP as a client speaks it |
//! | `load`, `streams` | requests at a rate, over HTTP/1.1 and HTTP/2, and what became of them |
//! | `network` | hosts of our own, and cables between them that can be cut |
//! | `page` | the metrics page |

mod client;
mod folder;
mod load;
pub(crate) mod misbehaving;
mod network;
mod page;
mod patience;
mod port;
mod process;
mod proxy;
mod service;
mod streams;

pub(crate) use client::{Answer, Client, ask, get, post};
pub(crate) use folder::Folder;
pub(crate) use load::{Load, alone};
pub(crate) use network::Network;
pub(crate) use page::Page;
pub(crate) use patience::{PATIENCE, until};
pub(crate) use port::Port;
pub(crate) use process::Process;
pub(crate) use proxy::{Proxy, one_listener};
pub(crate) use service::{Kind, Service, three};
pub(crate) use streams::Streams;
