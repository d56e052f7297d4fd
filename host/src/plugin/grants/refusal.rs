//! The sentence for imports that are not given: which, what they are for and
//! where they come from as far as one can tell, and what to write.

use std::collections::BTreeSet;
use std::fmt;

use memchr::memmem;

use super::{Capability, Grant};

/// What every plugin is linked to, by the beginning of its name.
const BASELINE: [&str; 5] = [
    "palisade:plugin/",
    "wasi:io/",
    "wasi:cli/",
    "wasi:filesystem/",
    "wasi:random/insecure-seed",
];

/// Toolchains that import interfaces unasked, by a word that they leave in
/// what they build.
const TOOLCHAINS: [(&[u8], &str); 3] = [
    (b"componentize-py", "Python's toolchain (componentize-py)"),
    (
        b"componentize-js",
        "JavaScript's toolchain (componentize-js)",
    ),
    (
        b"StarlingMonkey",
        "JavaScript's toolchain (componentize-js)",
    ),
];

/// What an import is for, by the beginning of its name.
const PURPOSES: [(&str, &str); 6] = [
    ("wasi:clocks/", "to tell the time"),
    ("wasi:random/", "for random numbers"),
    ("wasi:http/", "for HTTP"),
    ("wasi:keyvalue/", "to keep state"),
    ("wasi:sockets/", "for sockets; HTTP can be granted instead"),
    (
        "wasi:config/",
        "for configuration, which `configure` brings",
    ),
];

/// Imports that are not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What cannot be had comes first: granting the rest would be in vain.
    missing: Vec<(String, Option<Capability>)>,
    /// The grants that there are, as they are written.
    granted: Vec<String>,
    toolchain: Option<&'static str>,
}

impl Refusal {
    /// Which imports of a component are neither in the baseline nor granted;
    /// none if there are no such.
    pub fn of(imports: &BTreeSet<String>, grants: &BTreeSet<Grant>, bytes: &[u8]) -> Option<Self> {
        let linked = super::capabilities(grants);
        let missing = imports.iter().filter_map(|import| {
            let capability = Capability::for_import(import);
            let given = match capability {
                Some(capability) => linked.contains(&capability),
                None => BASELINE.iter().any(|prefix| import.starts_with(prefix)),
            };
            (!given).then(|| (import.clone(), capability))
        });
        let mut missing: Vec<_> = missing.collect();
        missing.sort_by_key(|(_, capability)| *capability);
        if missing.is_empty() {
            return None;
        }
        let built_by = |(word, name): &(&[u8], &'static str)| {
            memmem::find(bytes, word).is_some().then_some(*name)
        };
        Some(Self {
            missing,
            granted: grants.iter().map(Grant::to_string).collect(),
            toolchain: TOOLCHAINS.iter().find_map(built_by),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, (import, capability)) in self.missing.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}\"{import}\"")?;
            let purpose = PURPOSES.iter().find(|(name, _)| import.starts_with(name));
            if let Some((_, purpose)) = purpose {
                write!(f, " ({purpose})")?;
            }
            match capability {
                Some(it) => write!(f, ", which needs the grant \"{}\"", it.example())?,
                None => write!(f, ", which no plugin is given")?,
            }
        }
        if let Some(toolchain) = self.toolchain {
            let told = "imports such interfaces whether or not the plugin uses them";
            write!(f, "; {toolchain} {told}")?;
        }
        let wanted: Option<BTreeSet<_>> = self.missing.iter().map(|(_, it)| *it).collect();
        let Some(wanted) = wanted else {
            return Ok(());
        };
        let wanted = wanted.into_iter().map(|it| it.example().to_owned());
        let all = self.granted.iter().cloned().chain(wanted);
        let quoted: Vec<_> = all.map(|grant| format!("\"{grant}\"")).collect();
        write!(
            f,
            "; write `grants = [{}]` in its manifest entry",
            quoted.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(imports: &[&str], grants: &[&str], bytes: &[u8]) -> Option<String> {
        let imports = imports.iter().map(|name| (*name).to_owned()).collect();
        let grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        Refusal::of(&imports, &grants, bytes).map(|refusal| refusal.to_string())
    }

    #[test]
    fn the_line_to_write_has_what_is_there_already() {
        assert_eq!(
            said(
                &["wasi:http/types@0.2.9", "wasi:io/poll@0.2.9"],
                &["clocks"],
                b""
            )
            .unwrap(),
            "\"wasi:http/types@0.2.9\" (for HTTP), which needs the grant \"http:https://HOST\"; \
             write `grants = [\"clocks\", \"http:https://HOST\"]` in its manifest entry"
        );
    }

    #[test]
    fn what_nobody_is_given_has_no_line_to_write() {
        let imports = ["wasi:clocks/wall-clock@0.2.0", "wasi:sockets/tcp@0.2.0"];
        let said = said(&imports, &[], b"").unwrap();
        assert!(said.starts_with("\"wasi:sockets/tcp@0.2.0\" (for sockets"));
        assert!(said.contains("which no plugin is given"));
        assert!(!said.contains("write"), "{said}");
    }

    #[test]
    fn a_toolchain_that_imports_unasked_is_named() {
        let imports = ["wasi:clocks/wall-clock@0.2.0"];
        let said = said(&imports, &[], b"\0asm componentize-py 0.25").unwrap();
        assert!(
            said.contains("Python's toolchain (componentize-py) imports"),
            "{said}"
        );
    }

    #[test]
    fn what_is_granted_is_not_refused() {
        let imports = ["wasi:clocks/wall-clock@0.2.0", "wasi:cli/exit@0.2.0"];
        assert_eq!(said(&imports, &["clocks", "random"], b""), None);
    }
}
