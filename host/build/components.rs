//! Building packages of this workspace for WebAssembly, from a build script: the
//! gateway's for the first-party plugins, the tests' for guests.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Rust target whose standard library stands on WASI, and whose linker makes
/// components.
pub const WASI: &str = "wasm32-wasip2";

/// Installs a target if rustup manages this toolchain and it is not there.
fn ensure(target: &str) -> Result<(), String> {
    if is_there(target) {
        return Ok(());
    }
    let installed = Command::new("rustup")
        .args(["target", "add", target])
        .output();
    match installed {
        Ok(output) if output.status.success() && is_there(target) => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; ")),
        Err(error) => Err(format!("rustup could not be run: {error}")),
    }
}

fn is_there(target: &str) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output();
    printed.is_ok_and(|output| {
        output.status.success()
            && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

/// Builds packages of the workspace at `root` for a target, below `target_dir`,
/// and answers the directory that they are in.
pub fn build(
    root: &Path,
    names: &[String],
    target: &str,
    target_dir: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    if let Err(reason) = ensure(target) {
        println!(
            "cargo::error=the Rust target {target}, which plugins are built for, is missing; \
             type: rustup target add {target} ({reason})"
        );
        std::process::exit(1);
    }
    // A target directory of its own: the outer cargo holds the lock of its.
    let target_dir = target_dir.join("wasm");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args([
        "build",
        "--quiet",
        "--profile",
        "plugin",
        "--target",
        target,
    ]);
    cargo.arg("--target-dir").arg(&target_dir);
    // Searching a long prompt sixteen bytes at a time: every engine that runs
    // components has had vector instructions for years. And a stack of a quarter
    // of what it would be: after each exchange all pages of a memory are looked
    // at. JSON of 127 levels, the deepest that is read, fits.
    let flags = r#"["-Ctarget-feature=+simd128", "-Clink-arg=-zstack-size=262144"]"#;
    cargo.args(["--config", &format!("target.{target}.rustflags = {flags}")]);
    for name in names {
        cargo.args(["--package", name]);
    }
    // What is set for the gateway's own compilation is not for the plugins'.
    for variable in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_TARGET_DIR",
        "RUSTDOCFLAGS",
    ] {
        cargo.env_remove(variable);
    }
    let status = cargo.status()?;
    if !status.success() {
        return Err("the components could not be built".into());
    }
    Ok(target_dir.join(target).join("plugin"))
}
