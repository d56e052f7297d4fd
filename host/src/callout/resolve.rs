//! Names to addresses, for one plugin: what a name resolves to is looked at
//! once, and the connection goes to an address that was looked at. So a name
//! cannot be public when it is checked and private when it is used.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::address::is_public;

/// Answers the addresses of a name.
pub type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// A name resolves to nothing that the plugin may reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} resolves to {address}, which is not public")]
pub struct Prohibited {
    pub name: String,
    pub address: IpAddr,
}

/// Resolves, and leaves out what is not to be reached.
pub struct Resolver {
    /// Networks that are not public and may be reached all the same.
    pub private: Vec<IpNet>,
    pub lookup: Lookup,
    /// A look-up cannot be cancelled, so those that nobody waits for any more
    /// count too.
    pub places: Arc<Semaphore>,
}

/// Asks the system.
pub fn system() -> Lookup {
    Arc::new(|name| {
        async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    })
}

/// The addresses of a name that may be connected to.
fn reachable(
    name: &str,
    found: Vec<IpAddr>,
    private: &[IpNet],
) -> Result<Vec<SocketAddr>, Prohibited> {
    // To grant the name is to say where it leads.
    let local = name == "localhost";
    let allowed = |address: &IpAddr| {
        if local {
            return address.is_loopback();
        }
        let plain = address.to_canonical();
        is_public(*address) || private.iter().any(|net| net.contains(&plain))
    };
    let first = found.first().copied();
    let allowed: Vec<_> = found.into_iter().filter(allowed).collect();
    match first {
        Some(address) if allowed.is_empty() => Err(Prohibited {
            name: name.to_owned(),
            address,
        }),
        _ => Ok(allowed
            .into_iter()
            .map(|address| SocketAddr::new(address, 0))
            .collect()),
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, places) = (self.lookup.clone(), self.places.clone());
        let private = self.private.clone();
        async move {
            let place = places.acquire_owned().await?;
            let name = name.as_str().to_owned();
            let looking = lookup(name.clone());
            let found = tokio::spawn(async move {
                let found = looking.await;
                drop(place);
                found
            });
            let addresses = reachable(&name, found.await??, &private)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(name: &str, found: &[&str], private: &[&str]) -> Result<Vec<String>, Prohibited> {
        let found = found.iter().map(|text| text.parse().unwrap()).collect();
        let private: Vec<IpNet> = private.iter().map(|text| text.parse().unwrap()).collect();
        let reached = reachable(name, found, &private)?;
        Ok(reached.iter().map(|at| at.ip().to_string()).collect())
    }

    #[test]
    fn only_what_is_public_is_reached() {
        let public = reach("a.example", &["10.0.0.1", "8.8.8.8"], &[]);
        assert_eq!(public.unwrap(), ["8.8.8.8"]);
        let inside = reach("a.example", &["169.254.169.254", "::1"], &[]).unwrap_err();
        assert_eq!(
            inside.to_string(),
            "a.example resolves to 169.254.169.254, which is not public"
        );
        assert_eq!(reach("a.example", &[], &[]), Ok(vec![]));
    }

    #[test]
    fn a_network_that_is_granted_is_reached_and_no_other() {
        let found = ["10.1.2.3", "10.200.0.1", "::ffff:10.1.0.9", "192.168.0.1"];
        let reached = reach("a.example", &found, &["10.1.0.0/16"]).unwrap();
        assert_eq!(reached, ["10.1.2.3", "::ffff:10.1.0.9"]);
    }

    #[test]
    fn localhost_is_this_machine_and_no_other_name_is() {
        let found = ["127.0.0.1", "::1", "10.0.0.1", "8.8.8.8"];
        assert_eq!(
            reach("localhost", &found, &[]).unwrap(),
            ["127.0.0.1", "::1"]
        );
        assert!(reach("x.localhost", &["127.0.0.1"], &[]).is_err());
    }
}
