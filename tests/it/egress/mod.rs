//! Who may be called: the registries' whole table, every spelling, and real sockets that must stay
//! silent. The program itself is watched in `binary/egress.rs`.

mod sockets;
mod spelling;
mod table;

use std::net::IpAddr;

use callback_dispatcher::delivery::egress::Policy;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn policy(networks: &[&str]) -> Policy {
    Policy {
        allow_http: true,
        allow_networks: networks
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect(),
        ..Policy::default()
    }
}
