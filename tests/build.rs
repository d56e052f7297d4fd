//! Builds the guests in Rust, and writes down where they are, so that a guest
//! without a test of its name does not compile.

#[path = "../host/build/components.rs"]
mod components;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let tests = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = tests.parent().ok_or("the tests have no workspace")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = out
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR is not in a target directory")?;
    for path in ["tests/guests/rust", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }

    let mut names = Vec::new();
    for entry in fs::read_dir(tests.join("guests/rust"))? {
        let path = entry?.path();
        if path.join("Cargo.toml").exists()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let built = components::build(root, &names, components::WASI, target_dir)?;

    let mut code = String::from(
        "/// Calls a macro with the name of each guest.\n#[macro_export]\nmacro_rules! foreach_guest {\n    ($mac:ident) => {\n",
    );
    for name in &names {
        writeln!(code, "        $mac!({});", name.replace('-', "_"))?;
    }
    code.push_str("    };\n}\n\nconst GUESTS: &[(&str, &str)] = &[\n");
    for name in &names {
        // A command has no `cdylib`, and keeps its dashes.
        let library = built.join(format!("{}.wasm", name.replace('-', "_")));
        let file = if library.exists() {
            library
        } else {
            built.join(format!("{name}.wasm"))
        };
        writeln!(code, "    ({name:?}, {:?}),", file)?;
    }
    code.push_str("];\n");
    writeln!(
        code,
        "\nconst FOREIGN: &str = {:?};",
        target_dir.join("guests")
    )?;
    fs::write(out.join("guests.rs"), code)?;
    Ok(())
}
