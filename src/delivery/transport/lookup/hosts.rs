//! `/etc/hosts`: what it says of a name goes before any resolver.

use std::net::IpAddr;

use hickory_resolver::Hosts;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::reread::Reread;

#[derive(Debug)]
pub(super) struct HostsFile(Reread<Hosts>);

impl HostsFile {
    pub(super) fn at(path: &str) -> Self {
        Self(Reread::new(path, |bytes| {
            let mut hosts = Hosts::default();
            // What can't be read of it is left out.
            let _ = hosts.read_hosts_conf(bytes);
            hosts
        }))
    }

    /// The addresses of `name`; none if the file does not have it.
    pub(super) fn addresses(&self, name: &Name) -> Vec<IpAddr> {
        let hosts = self.0.current();
        let found = [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.to_lowercase(), kind)));
        found
            .flat_map(|found| found.answers().to_vec())
            .filter_map(|record| record.data.ip_addr())
            .collect()
    }
}
