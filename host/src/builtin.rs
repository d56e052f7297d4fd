//! The first-party plugins, compiled into the gateway, so that it works as a
//! single file: `source = "builtin:provider-echo"`. The table is written by
//! the build script; the host knows none of them by name.

include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The component of a plugin by its name.
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bytes)| *bytes)
}

/// The names of all of them.
pub fn names() -> Vec<&'static str> {
    COMPONENTS.iter().map(|(name, _)| *name).collect()
}
