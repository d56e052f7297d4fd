//! Builds the first-party plugins as components and embeds them.
//!
//! `cargo run` on a fresh clone must work, so what is missing for it (the
//! WebAssembly target) is installed here or explained in a sentence. The
//! components also land in `target/plugins/`, for copying and swapping.
//!
//! Those whose Cargo.toml says so are built without WASI. A component that the
//! standard library has import it has some fifteen functions more to be linked
//! in each instance, which takes three microseconds. The price is that a panic
//! tells where it was (by the functions' names), and no message, and that the
//! seeds of hash maps are the same everywhere: with keys that clients choose
//! these would be slow whenever a client wants it.

#[path = "components.rs"]
mod components;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use components::WASI;
use wit_component::ComponentEncoder;

/// The Rust target whose standard library stands on nothing.
const BARE: &str = "wasm32-unknown-unknown";

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
    let published = target_dir.join("plugins");
    fs::create_dir_all(&published)?;
    let mut table = BTreeMap::new();
    for (target, names) in plugins(&root.join("plugins"))? {
        let built = components::build(root, &names, target, target_dir)?;
        for name in names {
            let file = built.join(format!("{}.wasm", name.replace('-', "_")));
            let embedded = out.join(format!("{name}.wasm"));
            fs::write(&embedded, component(target, &fs::read(file)?)?)?;
            publish(&embedded, &published.join(format!("{name}.wasm")))?;
            table.insert(name, embedded);
        }
    }
    let mut code = String::from("static COMPONENTS: &[(&str, &[u8])] = &[\n");
    for (name, embedded) in table {
        writeln!(code, "    ({name:?}, include_bytes!({embedded:?})),")?;
    }
    code.push_str("];\n");
    fs::write(out.join("builtin.rs"), code)?;
    Ok(())
}

/// The folders that hold a component, by the target that each is for.
fn plugins(directory: &Path) -> Result<BTreeMap<&'static str, Vec<String>>, Box<dyn Error>> {
    let mut names = BTreeMap::<_, Vec<_>>::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Ok(manifest) = fs::read_to_string(path.join("Cargo.toml")) else {
            continue;
        };
        if manifest.contains("cdylib")
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            let bare = manifest.contains(&format!("target = {BARE:?}"));
            let target = if bare { BARE } else { WASI };
            names.entry(target).or_default().push(name.to_owned());
        }
    }
    Ok(names)
}

/// The component that was built for a target: what is built for `BARE` is a
/// module yet, with the types of its world in a section.
fn component(target: &str, built: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    if target == WASI {
        return Ok(built.to_owned());
    }
    let mut encoder = ComponentEncoder::default();
    let module = encoder.validate(true).module(built);
    let encoded = module.and_then(ComponentEncoder::encode);
    encoded.map_err(|e| format!("a plugin is no component: {e:#}").into())
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
