//! Where values outside the manifest come from: the process's environment,
//! then a `.env` file beside the manifest, then files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// The largest file that is read as a secret, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// A snapshot of what can be looked up.
pub struct Environment {
    variables: BTreeMap<String, Secret>,
    directory: PathBuf,
}

/// Where a secret is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the environment or of `.env`.
    Variable(String),
    /// A file that holds nothing else; its path is relative to the manifest.
    File(PathBuf),
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            SecretSource::Variable(name) => write!(f, "environment variable {name}"),
            SecretSource::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl Environment {
    /// Reads the process's environment and the `.env` in `directory`.
    ///
    /// # Errors
    ///
    /// If there is a `.env` that cannot be read or parsed; the text names the
    /// line, and no value.
    pub fn read(directory: &Path) -> Result<Self, String> {
        let mut variables = BTreeMap::new();
        let file = directory.join(".env");
        if file.exists() {
            let entries = dotenvy::from_path_iter(&file)
                .map_err(|_| format!("{} cannot be read", file.display()))?;
            for (i, entry) in entries.enumerate() {
                let (name, value) = entry.map_err(|_| {
                    format!("{}: entry {} is not NAME=value", file.display(), i + 1)
                })?;
                variables.insert(name, Secret::new(&value));
            }
        }
        let process = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, Secret::new(value.to_str()?)))
        });
        variables.extend(process);
        Ok(Self {
            variables,
            directory: directory.to_owned(),
        })
    }

    /// For tests: exactly these variables.
    pub fn of(variables: &[(&str, &str)], directory: &Path) -> Self {
        let pairs = variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), Secret::new(v)));
        Self {
            variables: pairs.collect(),
            directory: directory.to_owned(),
        }
    }

    /// A secret, without the white space around it; none if there is none, or
    /// it is empty.
    ///
    /// # Errors
    ///
    /// If a file is named that cannot be read.
    pub fn secret(&self, source: &SecretSource) -> Result<Option<Secret>, String> {
        let found = match source {
            SecretSource::Variable(name) => self.variables.get(name).cloned(),
            SecretSource::File(path) => Some(self.file(&self.directory.join(path))?),
        };
        let trimmed = found.map(|secret| Secret::new(secret.expose().trim()));
        Ok(trimmed.filter(|secret| !secret.expose().is_empty()))
    }

    fn file(&self, path: &Path) -> Result<Secret, String> {
        let cannot = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
        if std::fs::metadata(path).map_err(cannot)?.len() > MAX_SECRET {
            return Err(format!(
                "{} is larger than {MAX_SECRET} bytes",
                path.display()
            ));
        }
        Ok(Secret::new(&std::fs::read_to_string(path).map_err(cannot)?))
    }
}
