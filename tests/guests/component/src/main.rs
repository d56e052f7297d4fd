//! What `build-foreign` needs and no registry ships alone: the generator of C
//! bindings, the step from a core module to a component, and a list of what a
//! component imports. It is a front of the `wit-bindgen-c` and `wit-component`
//! crates, and takes the place of two command-line tools that would take
//! minutes to build.
//!
//! ```text
//! guest-component bindings WIT-DIRECTORY WORLD OUTPUT-DIRECTORY
//! guest-component encode CORE-MODULE OUTPUT-FILE
//! guest-component imports COMPONENT
//! ```

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::Files;
use wit_component::ComponentEncoder;
use wit_parser::Resolve;
use wit_parser::decoding::{DecodedWasm, decode};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["bindings", wit, world, output] => bindings(wit.as_ref(), world, output.as_ref()),
        ["encode", module, output] => encode(module.as_ref(), output.as_ref()),
        ["imports", component] => imports(component.as_ref()),
        _ => bail!("usage: guest-component bindings|encode|imports …, as main.rs says"),
    }
}

/// Writes `WORLD.c`, `WORLD.h` and `WORLD_component_type.o`.
fn bindings(wit: &Path, world: &str, output: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(wit)
        .with_context(|| format!("reading {wit:?}"))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;
    fs::create_dir_all(output)?;
    for (name, contents) in files.iter() {
        fs::write(output.join(name), contents).with_context(|| format!("writing {name}"))?;
    }
    Ok(())
}

/// Makes a component of a module that carries its world in a custom section.
fn encode(module: &Path, output: &Path) -> Result<()> {
    let module = read(module)?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .encode()?;
    fs::write(output, component).with_context(|| format!("writing {output:?}"))
}

/// Prints the names of the interfaces and functions that a component imports, a
/// line each.
fn imports(component: &Path) -> Result<()> {
    let DecodedWasm::Component(resolve, world) = decode(&read(component)?)? else {
        bail!("{component:?} is a package and not a component");
    };
    for key in resolve.worlds[world].imports.keys() {
        println!("{}", resolve.name_world_key(key));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {path:?}"))
}
