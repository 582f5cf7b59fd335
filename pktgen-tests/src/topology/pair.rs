//! Two namespaces with one wire between them: for a program that is measured and one that measures.
//!
//! Must not have the kernel send anything on the wire: no addresses, no IPv6.

use super::Namespace;
use super::guard;
use crate::error::{Error, Result};

/// Two namespaces, each with one end of a veth.
#[derive(Debug)]
pub struct Pair {
    /// Where the measured program runs.
    pub subject: Namespace,
    /// Where the measuring program runs.
    pub generator: Namespace,
}

impl Pair {
    /// The name of the wire's end in each namespace.
    pub const INTERFACE: &'static str = "wire";

    /// Makes them.
    ///
    /// # Errors
    /// Without root, or when `ip` or `ethtool` fails.
    pub fn new() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        guard::catch_signals();
        let prefix = guard::fresh_prefix()?;
        let subject = Namespace::new(format!("{prefix}-subject"))?;
        let generator = Namespace::new(format!("{prefix}-generator"))?;
        for namespace in [&subject, &generator] {
            namespace.sysctl(&[
                "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.default.disable_ipv6=1",
            ])?;
        }
        let (name, other) = (Self::INTERFACE, generator.name());
        subject.links(&format!(
            "link add {name} type veth peer name {name} netns {other}\nlink set {name} up\n"
        ))?;
        generator.links(&format!("link set {name} up\n"))?;
        for namespace in [&subject, &generator] {
            namespace.offloads_off(name)?;
        }
        Ok(Self { subject, generator })
    }
}
