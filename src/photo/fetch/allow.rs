//! Hosts that an operator lets the fetcher reach although their addresses are not public: intranets and tests.

use super::address::{Cidr, is_public};
use super::{FetchError, Target};
use std::net::IpAddr;
use url::Host;

/// One entry of [`super::FetchConfig::allow_hosts`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// A host by its exact name, on one port or on any.
    Host(Host, Option<u16>),
    /// Every address of a range, whatever name led to it.
    Range(Cidr),
}

/// What may be reached besides the public internet.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowList(Vec<Rule>);

impl AllowList {
    /// Reads entries: `host`, `host:port`, `address`, `address:port`, `[v6]:port`, `address/prefix`.
    pub(super) fn parse(entries: &[String]) -> Result<Self, FetchError> {
        let rule = |entry: &String| {
            Rule::parse(entry.trim()).ok_or_else(|| FetchError::AllowHost {
                expected: "host, host:port, address, address:port or address/prefix",
                received: entry.clone(),
            })
        };
        entries.iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// May this host be asked on this port, wherever its name leads?
    pub(super) fn host(&self, target: &Target) -> bool {
        self.0.iter().any(|rule| match rule {
            Rule::Host(host, port) => *host == target.host && port.is_none_or(|port| port == target.port),
            Rule::Range(_) => false,
        })
    }

    /// May this address be connected to?
    pub(super) fn address(&self, address: IpAddr) -> bool {
        let in_range = |rule: &Rule| matches!(rule, Rule::Range(range) if range.contains(address));
        is_public(address) || self.0.iter().any(in_range)
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if let Some(range) = Cidr::parse(entry) {
            return Some(Self::Range(range));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        // A range that did not parse, or a stray URL, is a mistake to report and not a name.
        if host.contains(['/', '@', '*']) {
            return None;
        }
        Some(Self::Host(Host::parse(host).ok()?, port))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(entries: &[&str]) -> Result<AllowList, FetchError> {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        AllowList::parse(&entries)
    }

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    #[test]
    fn entries_allow_what_they_name_and_nothing_else() {
        let allowed = list(&["images.corp", "shop.corp:8080", "127.0.0.1:3000", "[::1]:3000"]).unwrap();
        for url in [
            "http://images.corp/a",
            "https://IMAGES.corp:9/a",
            "http://shop.corp:8080/",
            "http://127.0.0.1:3000/",
            "http://2130706433:3000/",
            "http://[::1]:3000/",
        ] {
            assert!(allowed.host(&target(url)), "{url}");
        }
        for url in [
            "http://a.images.corp/",
            "http://shop.corp/",
            "http://127.0.0.1/",
            "http://127.0.0.1:3001/",
            "http://[::1]/",
            "http://images.corp.evil.example/",
        ] {
            assert!(!allowed.host(&target(url)), "{url}");
        }
        assert!(!allowed.address("127.0.0.1".parse().unwrap()));
        let ranges = list(&["10.1.0.0/16", "192.168.7.7"]).unwrap();
        assert!(ranges.address("10.1.2.3".parse().unwrap()));
        assert!(ranges.address("192.168.7.7".parse().unwrap()));
        assert!(!ranges.address("10.2.2.3".parse().unwrap()));
        assert!(ranges.address("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_refused() {
        for entry in ["", "10.0.0.0/40", "http://host", "host:port", "host:99999", "*.corp", "a b", "u@h"] {
            let error = list(&[entry]).unwrap_err();
            assert!(matches!(error, FetchError::AllowHost { .. }), "{entry}");
        }
    }
}
