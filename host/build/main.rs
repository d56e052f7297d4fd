//! Builds the first-party plugins as components and embeds them.
//!
//! `cargo run` on a fresh clone must work, so what is missing for it (the
//! WebAssembly target) is installed here or explained in a sentence. The
//! components also land in `target/plugins/`, for copying and swapping.

#[path = "components.rs"]
mod components;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let host = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = host.parent().ok_or("the host has no workspace")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // target/PROFILE/build/palisade-HASH/out
    let target_dir = out
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR is not in a target directory")?;

    for path in ["plugins", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let names = plugins(&root.join("plugins"))?;
    let built = components::build(root, &names, target_dir)?;

    let published = target_dir.join("plugins");
    fs::create_dir_all(&published)?;
    let mut table = String::from("static COMPONENTS: &[(&str, &[u8])] = &[\n");
    for name in &names {
        let file = format!("{}.wasm", name.replace('-', "_"));
        let embedded = out.join(format!("{name}.wasm"));
        fs::copy(built.join(file), &embedded)?;
        publish(&embedded, &published.join(format!("{name}.wasm")))?;
        writeln!(table, "    ({name:?}, include_bytes!({embedded:?})),")?;
    }
    table.push_str("];\n");
    fs::write(out.join("builtin.rs"), table)?;
    Ok(())
}

/// The folders that hold a component, in the order of their names.
fn plugins(directory: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Ok(manifest) = fs::read_to_string(path.join("Cargo.toml")) else {
            continue;
        };
        if manifest.contains("cdylib")
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Puts a component where people and running gateways look for it, whole at
/// once, and only if it is new, since a running gateway would load it.
fn publish(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let aside = to.with_extension(format!("wasm.{}", std::process::id()));
    fs::write(&aside, new)?;
    fs::rename(&aside, to)?;
    Ok(())
}
