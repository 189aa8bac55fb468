//! A client's connection as endpoints are told of it, and what belongs to it alone.
//!
//! A connection that has begun by naming a client must carry nobody else's requests, nor stay when that client has gone: the
//! endpoint takes whatever comes on it for that client's. So it waits in the endpoint's pool under its owner's name, and the
//! owner takes its connections along when it ends.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::net::proxy_header::Ends;
use crate::proxy::upstream::Upstream;

/// A client's connection, whatever is spoken on it.
#[derive(Debug)]
pub(crate) struct Downstream {
    /// Where it comes from and goes to, if that has addresses.
    pub(crate) ends: Option<Ends>,
    /// The endpoints in whose pools connections of its own may wait. There are never more than there are endpoints.
    holders: RefCell<Vec<Weak<Upstream>>>,
}

impl Downstream {
    pub(crate) fn new(ends: Option<Ends>) -> Rc<Self> {
        Rc::new(Self { ends, holders: RefCell::default() })
    }

    /// A connection of its own may wait there from now on.
    pub(crate) fn held_by(&self, upstream: &Rc<Upstream>) {
        let mut holders = self.holders.borrow_mut();
        if holders.iter().any(|holder| std::ptr::eq(holder.as_ptr(), Rc::as_ptr(upstream))) {
            return;
        }
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(Rc::downgrade(upstream));
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        for upstream in self.holders.get_mut().drain(..).filter_map(|holder| holder.upgrade()) {
            upstream.pool.close_orphans(upstream.cells());
        }
    }
}
