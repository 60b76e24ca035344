//! Addresses and networks that may do something.
//!
//! Promises: an IPv4 address matches however it came, as itself or mapped into IPv6 (`::ffff:a.b.c.d`, as a
//! listener on `[::]` reports it).
//! Leaves to the caller: whose address is asked about. Behind a proxy the peer is the proxy.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::limits::ADDRESSES_MAX;

/// A list of addresses and networks, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressList(Vec<IpNet>);

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressListError {
    /// One of them is neither an address nor a network.
    #[error("{text:?} is neither an address nor a network (10.0.0.0/8, 2001:db8::/32)")]
    Entry {
        /// It.
        text: String,
    },
    /// A network with bits set beyond its length: it says more than it can mean.
    #[error("{text} has bits beyond its length; the network is {network}")]
    HostBits {
        /// It.
        text: String,
        /// What was probably meant.
        network: String,
    },
    /// More than [`ADDRESSES_MAX`].
    #[error("there are {seen} addresses, over the limit of {ADDRESSES_MAX}")]
    TooMany {
        /// How many.
        seen: usize,
    },
}

impl AddressList {
    /// Whether `address` is one of them, or in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for AddressList {
    type Err = AddressListError;

    /// Addresses and networks with commas between; blanks around them do not count.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seen = text.split(',').count();
        if seen > ADDRESSES_MAX {
            return Err(AddressListError::TooMany { seen });
        }
        text.split(',')
            .map(|entry| parse(entry.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse(text: &str) -> Result<IpNet, AddressListError> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().map_err(|_| AddressListError::Entry {
            text: text.to_owned(),
        })?,
    };
    if network.addr() != network.network() {
        return Err(AddressListError::HostBits {
            text: text.to_owned(),
            network: network.trunc().to_string(),
        });
    }
    Ok(network)
}

impl fmt::Display for AddressList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_networks_that_hold_it() {
        let list: AddressList = "127.0.0.1, 10.0.0.0/8,2001:db8::/32,::1".parse().unwrap();
        let contains = |text: &str| list.contains(text.parse().unwrap());
        for inside in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "10.255.0.1",
            "2001:db8:1::",
            "::1",
        ] {
            assert!(contains(inside), "{inside}");
        }
        for outside in [
            "127.0.0.2",
            "11.0.0.0",
            "9.255.255.255",
            "2001:db9::",
            "::2",
            "::ffff:11.0.0.0",
        ] {
            assert!(!contains(outside), "{outside}");
        }
        assert_eq!(list.to_string(), "127.0.0.1/32,10.0.0.0/8,2001:db8::/32,::1/128");
        let everyone: AddressList = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(everyone.contains("192.0.2.1".parse().unwrap()) && everyone.contains("::5".parse().unwrap()));
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_is_wrong() {
        let refusal = |text: &str| text.parse::<AddressList>().unwrap_err().to_string();
        for text in [
            "",
            "10.0.0/8",
            "10.0.0.0/33",
            "localhost",
            "::1/129",
            "10.0.0.1:80",
        ] {
            assert!(
                refusal(text).contains("is neither an address nor a network"),
                "{text}"
            );
        }
        assert!(refusal("127.0.0.1,").contains("\"\" is neither"));
        assert_eq!(
            refusal("10.1.2.3/8"),
            "10.1.2.3/8 has bits beyond its length; the network is 10.0.0.0/8"
        );
        let most = vec!["::1"; ADDRESSES_MAX].join(",");
        assert!(most.parse::<AddressList>().is_ok());
        let many = vec!["::1"; ADDRESSES_MAX + 1].join(",");
        assert_eq!(
            refusal(&many),
            format!(
                "there are {} addresses, over the limit of {ADDRESSES_MAX}",
                ADDRESSES_MAX + 1
            )
        );
    }
}
