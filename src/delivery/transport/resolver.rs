//! From a name to addresses that may be called.
//!
//! The whole answer is checked: the owner of a name could otherwise list a forbidden address after
//! an allowed one and wait for the fallback. The checked addresses are the dialled ones; no second
//! lookup in between could answer differently.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::lookup::Lookup;
use super::progress;
use crate::delivery::egress::Policy;

/// The resolver answered with an empty list.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
pub(super) struct NoAddress;

/// What reqwest resolves with.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) policy: Arc<Policy>,
    /// The proxy's name: it is the operator's own and may well be private.
    pub(super) exempt_name: Option<String>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.lookup);
        let policy = Arc::clone(&self.policy);
        let is_exempt = self.exempt_name.as_deref() == Some(name.as_str());
        Box::pin(async move {
            progress::dns_begun();
            let addresses = lookup.lookup(name.as_str()).await?;
            progress::dns_answered(&addresses);
            if !is_exempt {
                for address in &addresses {
                    policy.check_address(*address)?;
                }
            }
            let sole = match addresses[..] {
                [] => return Err(Box::new(NoAddress) as Box<dyn Error + Send + Sync>),
                [sole] => Some(SocketAddr::new(sole, 0)),
                _ => None,
            };
            progress::dns_ended(sole);
            // Port 0 stands for the URL's.
            let addresses = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
